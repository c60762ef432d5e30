-- $1 shop, $2 product ids
select
  -- @include product-columns
from movie_store.products as product
join movie_store.offers as offer on offer.product_id = product.id and offer.shop_id = $1
where product.id = any ($2::integer[])
