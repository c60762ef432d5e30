-- Offers a film in a shop, or changes what it offers, whoever has changed it since; no row: there is no such film.
-- $1 shop, $2 product id, $3 price, $4 stock
with offer as (
  insert into movie_store.offers as offer (shop_id, product_id, price_cents, stock)
  select $1, id, $3::integer, $4::integer from movie_store.products where id = $2
  on conflict (shop_id, product_id) do update
    -- Not the version of the row that was to be inserted: that was drawn before the wait for the lock.
    set price_cents = excluded.price_cents, stock = excluded.stock, version = nextval('movie_store.offer_versions')
  -- A row that was there before has been locked for the change.
  returning offer.*, offer.xmax = 0 as created
)
select
  offer.created,
  -- @include product-columns
from offer
join movie_store.products as product on product.id = offer.product_id
