-- Changes what a shop offers, if it is still the version that was edited; no row: it is not, or it is gone.
-- $1 shop, $2 product id, $3 price, $4 stock, $5 version
update movie_store.offers as offer
set price_cents = $3, stock = $4, version = nextval('movie_store.offer_versions')
from movie_store.products as product
where offer.shop_id = $1 and offer.product_id = $2 and offer.version = $5 and product.id = offer.product_id
returning
  false as created,
  -- @include product-columns
