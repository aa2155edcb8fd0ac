-- As release 1.0 has it.
CREATE TABLE purchase (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    customer VARCHAR(80) NOT NULL,
    amount_cents BIGINT NOT NULL,
    paid BOOLEAN NOT NULL DEFAULT FALSE,
    shipped BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX purchase_customer ON purchase (customer);
