-- Whether there is such a film, in whatever shop, and its genre. $1 product id
select id, genre from movie_store.products where id = $1
