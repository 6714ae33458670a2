;; Two probes of what one WebAssembly thread can do at most on this machine.
(module
  (memory (export "memory") 1)
  (func (export "grow") (param $pages i32) (result i32) (memory.grow (local.get $pages)))

  ;; 8 x 16 products per turn, of 128 B of weights and 16 B of activations that stay in the first
  ;; cache: a dot product of bytes with nothing to unpack and nothing to scale.
  (func (export "dot") (param $turns i32) (result i32)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local $e v128) (local $f v128) (local $g v128) (local $h v128)
    (local $x v128) (local $at i32)
    (loop $turn
      (local.set $x (v128.load (i32.and (local.get $at) (i32.const 0x3f0))))
      (local.set $a (i32x4.relaxed_dot_i8x16_i7x16_add_s (v128.load offset=1024 (local.get $at)) (local.get $x) (local.get $a)))
      (local.set $b (i32x4.relaxed_dot_i8x16_i7x16_add_s (v128.load offset=1040 (local.get $at)) (local.get $x) (local.get $b)))
      (local.set $c (i32x4.relaxed_dot_i8x16_i7x16_add_s (v128.load offset=1056 (local.get $at)) (local.get $x) (local.get $c)))
      (local.set $d (i32x4.relaxed_dot_i8x16_i7x16_add_s (v128.load offset=1072 (local.get $at)) (local.get $x) (local.get $d)))
      (local.set $e (i32x4.relaxed_dot_i8x16_i7x16_add_s (v128.load offset=1088 (local.get $at)) (local.get $x) (local.get $e)))
      (local.set $f (i32x4.relaxed_dot_i8x16_i7x16_add_s (v128.load offset=1104 (local.get $at)) (local.get $x) (local.get $f)))
      (local.set $g (i32x4.relaxed_dot_i8x16_i7x16_add_s (v128.load offset=1120 (local.get $at)) (local.get $x) (local.get $g)))
      (local.set $h (i32x4.relaxed_dot_i8x16_i7x16_add_s (v128.load offset=1136 (local.get $at)) (local.get $x) (local.get $h)))
      (local.set $at (i32.and (i32.add (local.get $at) (i32.const 128)) (i32.const 0x3fff)))
      (br_if $turn (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
    (i32x4.extract_lane 0
      (i32x4.add
        (i32x4.add (i32x4.add (local.get $a) (local.get $b)) (i32x4.add (local.get $c) (local.get $d)))
        (i32x4.add (i32x4.add (local.get $e) (local.get $f)) (i32x4.add (local.get $g) (local.get $h))))))

  ;; Reads the bytes from $from to $end, 128 at a time.
  (func (export "read") (param $from i32) (param $end i32) (result i32)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (loop $turn
      (local.set $a (v128.xor (local.get $a) (v128.xor (v128.load (local.get $from)) (v128.load offset=16 (local.get $from)))))
      (local.set $b (v128.xor (local.get $b) (v128.xor (v128.load offset=32 (local.get $from)) (v128.load offset=48 (local.get $from)))))
      (local.set $c (v128.xor (local.get $c) (v128.xor (v128.load offset=64 (local.get $from)) (v128.load offset=80 (local.get $from)))))
      (local.set $d (v128.xor (local.get $d) (v128.xor (v128.load offset=96 (local.get $from)) (v128.load offset=112 (local.get $from)))))
      (br_if $turn (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 128))) (local.get $end))))
    (i32x4.extract_lane 0
      (v128.xor (v128.xor (local.get $a) (local.get $b)) (v128.xor (local.get $c) (local.get $d))))))
