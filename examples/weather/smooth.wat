;; A centred moving average over a tensor<f64,[n]>, by prefix sums, in WebAssembly text.
;;
;; /in and /out are the preopened descriptors 4 and 5. The output has the shape and type of the input,
;; so its .npy header is the input's.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $filestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "temps.npy")
  (data (i32.const 16) "window.txt")
  (data (i32.const 32) "trend.npy")
  ;; 64: one iovec, 72: bytes moved, 76: descriptor, 128: filestat, 1024: text, 65536: the input file

  (func $check (param $errno i32)
    (if (local.get $errno) (then (call $exit (i32.add (i32.const 100) (local.get $errno))))))

  (func $open (param $dir i32) (param $name i32) (param $length i32) (param $flags i32) (param $rights i64) (result i32)
    (call $check (call $path_open (local.get $dir) (i32.const 0) (local.get $name) (local.get $length)
      (local.get $flags) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 76)))
    (i32.load (i32.const 76)))

  ;; Reads until `room` bytes are there or the file ends; returns how many came.
  (func $read (param $fd i32) (param $to i32) (param $room i32) (result i32)
    (local $got i32)
    (block $done
      (loop $more
        (br_if $done (i32.eq (local.get $got) (local.get $room)))
        (i32.store (i32.const 64) (i32.add (local.get $to) (local.get $got)))
        (i32.store (i32.const 68) (i32.sub (local.get $room) (local.get $got)))
        (call $check (call $fd_read (local.get $fd) (i32.const 64) (i32.const 1) (i32.const 72)))
        (br_if $done (i32.eqz (i32.load (i32.const 72))))
        (local.set $got (i32.add (local.get $got) (i32.load (i32.const 72))))
        (br $more)))
    (local.get $got))

  (func $write (param $fd i32) (param $from i32) (param $size i32)
    (loop $more
      (i32.store (i32.const 64) (local.get $from))
      (i32.store (i32.const 68) (local.get $size))
      (call $check (call $fd_write (local.get $fd) (i32.const 64) (i32.const 1) (i32.const 72)))
      (local.set $from (i32.add (local.get $from) (i32.load (i32.const 72))))
      (local.set $size (i32.sub (local.get $size) (i32.load (i32.const 72))))
      (br_if $more (local.get $size))))

  ;; The decimal number in window.txt.
  (func $window (result i32)
    (local $end i32) (local $at i32) (local $value i32)
    (local.set $end (i32.add (i32.const 1024) (call $read
      (call $open (i32.const 4) (i32.const 16) (i32.const 10) (i32.const 0) (i64.const 2)) (i32.const 1024) (i32.const 16))))
    (local.set $at (i32.const 1024))
    (block $done
      (loop $digit
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $value (i32.add (i32.mul (local.get $value) (i32.const 10))
          (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $digit)))
    (local.get $value))

  (func (export "_start")
    (local $in i32) (local $out i32) (local $size i32) (local $head i32) (local $count i32)
    (local $data i32) (local $sums i32) (local $i i32) (local $low i32) (local $high i32) (local $half i32) (local $sum f64)
    (local.set $half (i32.div_u (call $window) (i32.const 2)))
    (local.set $in (call $open (i32.const 4) (i32.const 0) (i32.const 9) (i32.const 0) (i64.const 0x200002)))
    (call $check (call $filestat (local.get $in) (i32.const 128)))
    (local.set $size (i32.wrap_i64 (i64.load (i32.const 160))))
    ;; The file, the prefix sums behind it, and a page to spare.
    (if (i32.lt_s (memory.grow (i32.add (i32.const 2)
          (i32.shr_u (i32.mul (local.get $size) (i32.const 2)) (i32.const 16)))) (i32.const 0))
      (then (call $exit (i32.const 99))))
    (if (i32.ne (call $read (local.get $in) (i32.const 65536) (local.get $size)) (local.get $size))
      (then (call $exit (i32.const 98))))
    (local.set $head (i32.add (i32.const 10) (i32.load16_u (i32.const 65544))))
    (local.set $data (i32.add (i32.const 65536) (local.get $head)))
    (local.set $count (i32.shr_u (i32.sub (local.get $size) (local.get $head)) (i32.const 3)))
    ;; sums[i] = data[0] + … + data[i - 1], 8 bytes each, aligned
    (local.set $sums (i32.and (i32.add (i32.add (i32.const 65536) (local.get $size)) (i32.const 15)) (i32.const -8)))
    (block $done
      (loop $next
        (f64.store (i32.add (local.get $sums) (i32.shl (local.get $i) (i32.const 3))) (local.get $sum))
        (br_if $done (i32.eq (local.get $i) (local.get $count)))
        (local.set $sum (f64.add (local.get $sum)
          (f64.load (i32.add (local.get $data) (i32.shl (local.get $i) (i32.const 3))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    ;; data[i] = mean of data[max(0, i - half) .. min(count, i + half + 1)]
    (local.set $i (i32.const 0))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $i) (local.get $count)))
        (local.set $low (i32.sub (local.get $i) (local.get $half)))
        (if (i32.lt_s (local.get $low) (i32.const 0)) (then (local.set $low (i32.const 0))))
        (local.set $high (i32.add (i32.add (local.get $i) (local.get $half)) (i32.const 1)))
        (if (i32.gt_s (local.get $high) (local.get $count)) (then (local.set $high (local.get $count))))
        (f64.store (i32.add (local.get $data) (i32.shl (local.get $i) (i32.const 3)))
          (f64.div
            (f64.sub
              (f64.load (i32.add (local.get $sums) (i32.shl (local.get $high) (i32.const 3))))
              (f64.load (i32.add (local.get $sums) (i32.shl (local.get $low) (i32.const 3)))))
            (f64.convert_i32_s (i32.sub (local.get $high) (local.get $low)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.set $out (call $open (i32.const 5) (i32.const 32) (i32.const 9) (i32.const 9) (i64.const 0x40)))
    (call $write (local.get $out) (i32.const 65536) (local.get $size))))
