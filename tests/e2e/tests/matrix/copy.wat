;; Copies files: each pair of arguments is a path below /in and one below /out. An empty first path makes a folder.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory"
    (func $path_create_directory (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))

  ;; 0: argument count, 4: their bytes, 8: a descriptor, 12: bytes done, 16: one iovec, 4096: argument pointers,
  ;; 16384: argument bytes, 65536: the buffer
  (memory (export "memory") 4)

  (func $check (param $errno i32)
    (if (local.get $errno) (then (call $proc_exit (local.get $errno)))))

  (func $length (param $text i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $text))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next)))
    (i32.sub (local.get $end) (local.get $text)))

  (func $argument (param $index i32) (result i32)
    (i32.load (i32.add (i32.const 4096) (i32.mul (local.get $index) (i32.const 4)))))

  (func $open (param $folder i32) (param $path i32) (param $flags i32) (param $rights i64) (result i32)
    (call $check (call $path_open (local.get $folder) (i32.const 0) (local.get $path) (call $length (local.get $path))
      (local.get $flags) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 8)))
    (i32.load (i32.const 8)))

  (func $iovec (param $at i32) (param $size i32)
    (i32.store (i32.const 16) (local.get $at))
    (i32.store (i32.const 20) (local.get $size)))

  (func $copy (param $from i32) (param $to i32)
    (local $in i32) (local $out i32) (local $size i32) (local $sent i32)
    ;; Descriptor 4 is /in, 5 is /out. Rights 2 read, 64 write; flags 1 create, 8 truncate.
    (local.set $in (call $open (i32.const 4) (local.get $from) (i32.const 0) (i64.const 2)))
    (local.set $out (call $open (i32.const 5) (local.get $to) (i32.const 9) (i64.const 64)))
    (block $end
      (loop $more
        (call $iovec (i32.const 65536) (i32.const 65536))
        (call $check (call $fd_read (local.get $in) (i32.const 16) (i32.const 1) (i32.const 12)))
        (local.set $size (i32.load (i32.const 12)))
        (br_if $end (i32.eqz (local.get $size)))
        (local.set $sent (i32.const 0))
        (loop $rest
          (call $iovec (i32.add (i32.const 65536) (local.get $sent)) (i32.sub (local.get $size) (local.get $sent)))
          (call $check (call $fd_write (local.get $out) (i32.const 16) (i32.const 1) (i32.const 12)))
          (local.set $sent (i32.add (local.get $sent) (i32.load (i32.const 12))))
          (br_if $rest (i32.lt_u (local.get $sent) (local.get $size))))
        (br $more)))
    (call $check (call $fd_close (local.get $in)))
    (call $check (call $fd_close (local.get $out))))

  (func (export "_start")
    (local $i i32) (local $to i32)
    (call $check (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (call $check (call $args_get (i32.const 4096) (i32.const 16384)))
    (local.set $i (i32.const 1))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (i32.load (i32.const 0))))
        (local.set $to (call $argument (i32.add (local.get $i) (i32.const 1))))
        (if (call $length (call $argument (local.get $i)))
          (then (call $copy (call $argument (local.get $i)) (local.get $to)))
          (else (call $check (call $path_create_directory (i32.const 5) (local.get $to) (call $length (local.get $to))))))
        (local.set $i (i32.add (local.get $i) (i32.const 2)))
        (br $next)))))
