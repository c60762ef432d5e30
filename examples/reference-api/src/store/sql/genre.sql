-- One page of a genre. $1 shop, $2 genre, $3 films a page, $4 how many come before
select
  product.id,
  product.title,
  product.imdb_rating::float8 as "imdbRating",
  offer.price_cents as "priceCents",
  offer.stock
from movie_store.products as product
join movie_store.offers as offer on offer.product_id = product.id
where offer.shop_id = $1 and product.genre = $2
order by product.imdb_rating desc nulls last, product.id
limit $3 offset $4
