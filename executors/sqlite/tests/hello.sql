select 'hello ' || @name;
create temp table written as select writefile('/cell/out/y', @x * 2 + 2);
