-- The home page of one shop, all of it in one answer. $1 shop
with
  today as (
    select max(ordered_at) as at from movie_store.orders where shop_id = $1
  ),
  sales as (
    select
      item.product_id,
      orders.customer_id,
      date_trunc('month', orders.ordered_at) as month,
      orders.ordered_at > today.at - interval '90 days' as recent,
      item.quantity,
      item.quantity * item.price_cents as cents
    from movie_store.orders
    join movie_store.order_items as item on item.order_id = orders.id
    cross join today
    where orders.shop_id = $1 and orders.ordered_at > date_trunc('month', today.at) - interval '12 months'
  ),
  revenue_by_month as (
    select
      to_char(month, 'YYYY-MM') as month,
      sum(cents) as "revenueCents",
      count(distinct customer_id) as customers
    from sales
    group by sales.month
    order by sales.month
  ),
  sellers as (
    select
      coalesce(product.genre, 'Other') as genre,
      product.id,
      product.title,
      sum(sales.quantity) as sold,
      row_number() over (
        partition by coalesce(product.genre, 'Other')
        order by sum(sales.quantity) desc, product.id
      ) as place
    from sales
    join movie_store.products as product on product.id = sales.product_id
    where sales.recent
    group by product.id
  ),
  top_by_genre as (
    select genre, json_agg(json_build_object('id', id, 'title', title, 'sold', sold) order by place) as films
    from sellers
    where place <= 3
    group by genre
    order by genre
  ),
  newest as (
    select product.id, product.title, to_char(product.released_on, 'YYYY-MM-DD') as "releasedOn"
    from movie_store.products as product
    join movie_store.offers as offer on offer.product_id = product.id
    where offer.shop_id = $1 and offer.stock > 0 and product.released_on is not null
    order by product.released_on desc, product.id
    limit 8
  ),
  best_rated as (
    select product.id, product.title, product.imdb_rating::float8 as "imdbRating", offer.price_cents as "priceCents"
    from movie_store.products as product
    join movie_store.offers as offer on offer.product_id = product.id
    where offer.shop_id = $1 and offer.stock > 0 and product.imdb_votes >= 20000
    order by product.imdb_rating desc, product.imdb_votes desc
    limit 8
  )
select json_build_object(
  'topByGenre', (select json_object_agg(genre, films) from top_by_genre),
  'revenueByMonth', (select json_agg(revenue_by_month) from revenue_by_month),
  'newest', (select json_agg(newest) from newest),
  'bestRated', (select json_agg(best_rated) from best_rated)
) as homepage
