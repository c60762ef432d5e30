-- After the rows: an index is built faster than it is kept up.
alter table movie_store.offers add primary key (shop_id, product_id);
alter table movie_store.order_items add primary key (order_id, product_id);

create index on movie_store.orders (shop_id, ordered_at);
create index on movie_store.order_items (product_id);

alter table movie_store.offers
  add foreign key (shop_id) references movie_store.shops,
  add foreign key (product_id) references movie_store.products;
alter table movie_store.orders
  add foreign key (shop_id) references movie_store.shops,
  add foreign key (customer_id) references movie_store.customers;
alter table movie_store.order_items
  add foreign key (order_id) references movie_store.orders,
  add foreign key (product_id) references movie_store.products;

analyze movie_store.shops, movie_store.products, movie_store.offers,
  movie_store.customers, movie_store.orders, movie_store.order_items;
