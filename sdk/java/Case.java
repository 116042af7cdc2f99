// A bit of everything, for javac to compile: the classes that it needs for that are what its archive has (executors/java/executor.toml). Never run.
import java.io.*;
import java.math.*;
import java.nio.charset.*;
import java.nio.file.*;
import java.util.*;
import java.util.function.*;
import java.util.stream.*;

public class Case<T extends Comparable<T>> implements Iterable<T> {
  enum Sign { MINUS, ZERO, PLUS; static Sign of(double x) { return x < 0 ? MINUS : x > 0 ? PLUS : ZERO; } }
  interface Shape { double area(); default String told() { return getClass().getSimpleName() + ": " + area(); } }
  static class Square implements Shape {
    final double side;
    Square(double side) { this.side = side; }
    @Override public double area() { return side * side; }
  }
  private final List<T> all = new ArrayList<>();
  @SafeVarargs Case(T... all) { Collections.addAll(this.all, all); }
  public Iterator<T> iterator() { return all.iterator(); }
  static <A, B> List<B> map(Collection<? extends A> all, Function<? super A, ? extends B> each) {
    return all.stream().<B>map(each).collect(Collectors.toList());
  }
  public static void main(String[] args) throws Exception {
    var y = new TreeMap<String, Integer>();
    for (String word : new String(Files.readAllBytes(Path.of(args[0])), StandardCharsets.UTF_8).split("\\W+")) y.merge(word, 1, Integer::sum);
    String top = y.entrySet().stream().filter(e -> e.getValue() > 1).map(e -> e.getKey() + "=" + e.getValue()).limit(9).collect(Collectors.joining(","));
    int[] squares = IntStream.range(0, 10).map(i -> i * i).toArray();
    long sum = 0;
    for (int i = 0; i < squares.length; i++) { if (i % 2 == 0) continue; sum += squares[i] << 1; }
    do { sum ^= sum >>> 3; } while (sum > 100L);
    switch (Sign.of(sum)) { case MINUS: sum = -sum; break; default: sum++; }
    Shape[] shapes = { new Square(2), () -> 3.5, new Shape() { public double area() { return Math.PI; } } };
    try (BufferedReader in = new BufferedReader(new StringReader(top))) {
      for (String line; (line = in.readLine()) != null; ) System.out.printf("%s %d %.2f%n", line, sum, shapes[0].area());
    } catch (IOException | RuntimeException e) { e.printStackTrace(); } finally { System.err.println(map(new Case<>(1, 2).all, Object::toString)); }
    BigInteger big = BigInteger.ONE.shiftLeft(99);
    Object any = big instanceof Number ? (Object) big.intValue() : Optional.empty();
    synchronized (any) { new Thread(() -> System.out.println(any)).start(); }
    StringBuilder text = new StringBuilder().append('x').append(1.5).append(top, 0, 1);
    Files.writeString(Path.of(System.getenv().getOrDefault("OUT", "."), "y"), text + " " + Arrays.toString(squares) + sum);
  }
}
