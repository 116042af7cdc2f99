import java.nio.file.Files;
import java.nio.file.Path;

public class Hello {
    public static void main(String[] args) throws Exception {
        System.out.println("hello " + System.getenv("name"));
        long x = Long.parseLong(System.getenv("x"));
        Files.writeString(Path.of(System.getenv("OUT"), "y"), Long.toString(x * 2 + 2));
    }
}
