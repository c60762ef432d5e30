-- $1 shop, $2 product id
delete from movie_store.offers where shop_id = $1 and product_id = $2 returning product_id as id
