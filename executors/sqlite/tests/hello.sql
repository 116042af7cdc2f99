select 'hello ' || @name;
select writefile('/cell/out/y', @x * 2 + 2) is null;
