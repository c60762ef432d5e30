-- Whether there is such a film, in whatever shop. $1 product id
select id from movie_store.products where id = $1
