/** Each default once, with its reason. Those of each architecture are in `architectures.ts`; options in neither default to "not there". */
export const DEFAULTS = {
  image: 'tiny',
  accel: 'auto',
  /** The chipset that has the system management mode by which firmware keeps its variables from the guest. */
  secureBootMachine: 'q35',
  /** What a guest does not need any more takes no room in the overlay. */
  diskDiscard: 'unmap',
  /** The one that QEMU's own documents use; a PCI device, in every Linux kernel since 2002. */
  watchdog: { model: 'i6300esb', action: 'reset' },
  /** TIS is what every firmware and system knows. */
  tpm: { version: '2.0', model: 'tis' },
  sshGuestPort: 22,
  /** Nothing outside this host reaches a forwarded port. */
  bind: '127.0.0.1',
  /** More than a test of an upgrade or a build writes, and less than a host can do without. */
  diskLimitBytes: 16 * 1024 ** 3,
  /** Six hours of a real line of 115,200 baud. */
  consoleLimitBytes: 256 * 1024 ** 2,
  /** What a guest of a distribution needs at most on a host with KVM; stretched by the host's measured factor. */
  shutdownMs: 20_000,
} as const
