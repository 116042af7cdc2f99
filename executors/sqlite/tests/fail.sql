select 1;
select nope;
