-- $1 shop
select id, name from movie_store.shops where id = $1
