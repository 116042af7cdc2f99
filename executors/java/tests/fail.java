class Fail {
    public static void main(String[] args) {
        int x = nope;
    }
}
