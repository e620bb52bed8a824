import { GIB, MIB } from '../common/units.js'

/**
 * Defaults with their reasons. Defaults of architectures are in `architectures.ts`; other options
 * are unset by default.
 */
export const DEFAULTS = {
  image: 'tiny',
  accel: 'auto',
  /** The only PC with system management mode, which protects UEFI variables from the guest. */
  secureBootMachine: 'q35',
  /** Discarded blocks take no space in the overlay. */
  diskDiscard: 'unmap',
  /**
   * The model in QEMU's documentation: a PCI device, supported by every Linux kernel since 2002.
   */
  watchdog: { model: 'i6300esb', action: 'reset' },
  /** TIS is supported by all firmware and operating systems. */
  tpm: { version: '2.0', model: 'tis' },
  sshGuestPort: 22,
  /** Other hosts cannot connect to a forwarded port. */
  bind: '127.0.0.1',
  /**
   * More than a test of an upgrade or a build writes, and less than the usual free space of a host.
   */
  diskLimitBytes: 16 * GIB,
  /** Six hours on a 115,200 baud line. */
  consoleLimitBytes: 256 * MIB,
  /**
   * The longest shutdown of a distribution on a host with KVM; scaled by the host's measured
   * factor.
   */
  shutdownMs: 20_000,
} as const
