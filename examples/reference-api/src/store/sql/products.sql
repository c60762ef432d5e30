-- $1 shop, $2 product ids
select
  product.id,
  product.title,
  product.genre,
  to_char(product.released_on, 'YYYY-MM-DD') as "releasedOn",
  product.mpaa_rating as "mpaaRating",
  product.running_minutes as "runningMinutes",
  product.distributor,
  product.director,
  product.based_on as "basedOn",
  product.worldwide_gross::float8 as "worldwideGross",
  product.critics_percent as "criticsPercent",
  product.imdb_rating::float8 as "imdbRating",
  product.imdb_votes as "imdbVotes",
  offer.price_cents as "priceCents",
  offer.stock
from movie_store.products as product
join movie_store.offers as offer on offer.product_id = product.id and offer.shop_id = $1
where product.id = any ($2::integer[])
