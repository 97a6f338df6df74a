CREATE EXTENSION vector_search;
