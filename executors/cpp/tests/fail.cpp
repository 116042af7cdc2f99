int main() {
  return nope;
}
