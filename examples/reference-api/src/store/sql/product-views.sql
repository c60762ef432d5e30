select views from movie_store.product_views where shop_id = $1 and product_id = $2
