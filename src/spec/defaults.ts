/** Each default once, with its reason. Options that are not here default to "not there". */
export const DEFAULTS = {
  image: 'tiny',
  accel: 'auto',
  /** QEMU's i440fx machine: it has no chipset devices to probe beyond what a guest needs, so it boots fastest. */
  machine: 'pc',
  /** All that the accelerator can do; with RDRAND, without which a guest waits for entropy before its first SSH key exchange. */
  cpu: { kvm: 'host', tcg: 'max' },
  /** Paravirtual: no emulated registers, the fastest card, in every Linux kernel since 2008. */
  networkModel: 'virtio-net-pci',
  sshGuestPort: 22,
  /** Nothing outside this host reaches a forwarded port. */
  bind: '127.0.0.1',
  /** What a guest of a distribution needs at most on a host with KVM; stretched by the host's measured factor. */
  shutdownMs: 20_000,
} as const
