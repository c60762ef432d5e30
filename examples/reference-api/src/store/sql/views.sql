-- What visitors look at. It reaches these tables behind the visitors' backs, in batches.
create table movie_store.product_views (
  shop_id    text    not null,
  product_id integer not null,
  views      bigint  not null,
  primary key (shop_id, product_id)
);

create table movie_store.page_views (
  shop_id    text        not null,
  product_id integer     not null,
  referrer   text,
  seen_at    timestamptz not null
);
