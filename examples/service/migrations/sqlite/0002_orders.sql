-- Expand: the new table, which release 1.1 knows. A state takes the place of two flags.
CREATE TABLE orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    customer VARCHAR(80) NOT NULL,
    amount_cents BIGINT NOT NULL CHECK (amount_cents >= 0),
    state VARCHAR(10) NOT NULL
);
CREATE INDEX orders_customer ON orders (customer);
