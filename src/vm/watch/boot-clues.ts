interface ClueRow {
  readonly pattern: RegExp
  /** What it means, and what to do about it. */
  readonly hint: string
  /** It may pass: any other clue tells more, and of several the last. */
  readonly isPassing?: boolean
}

/**
 * Lines of the serial console that end no start by themselves, but tell why one that fails did: in the words of those who
 * print them. The first row that fits counts. Repetitions are bounded, as in `guest-failures.ts`.
 */
const ROWS: readonly ClueRow[] = [
  {
    pattern: /No space left on device/,
    hint: 'a file system of the guest is full: make room in the image, or give it a larger disk. (One on a tmpfs wants more `memory`.)',
  },
  {
    pattern: /Read-only file system/,
    hint: 'the guest could not write to a file system that is mounted read-only: damaged, or never mounted again for writing.',
  },
  {
    pattern:
      /EXT4-fs error|XFS \(\S+\): .{0,200}[Cc]orrupt|BTRFS.{0,200}(corrupt|csum failed)|UNEXPECTED INCONSISTENCY/,
    hint: 'a file system of the guest is damaged: check the image with `fsck`, and how it was made.',
  },
  {
    pattern: /I\/O error, dev \S+|Buffer I\/O error/,
    hint: 'the guest could not read its disk: is the image whole, and as large as its partition table says?',
  },
  {
    pattern: /Initramfs unpacking failed/,
    hint: 'the kernel could not unpack its initrd: it is damaged, packed in a way that this kernel does not know, or larger than `memory` allows.',
  },
  {
    pattern: /check access for rdinit=\S+ failed|Failed to execute \S+ \(error -\d+\)/,
    hint: 'what the kernel was told to start first cannot be started: is it there, is it executable, and are its interpreter and libraries there?',
  },
  {
    pattern: /error while loading shared libraries|Error relocating/,
    hint: 'a library is missing in the guest, or in its initrd: `ldd` tells what a program needs.',
  },
  {
    pattern: /withvm: (\/sbin\/init on \S+|the root file system on \S+) cannot be/,
    hint: 'the root disk lost what the guest starts from: what did the test do to it before it was switched off?',
  },
  {
    pattern: /PXE-[EM]\d+|No more network devices|Nothing to boot:|Failed to load ldlinux/,
    hint: 'the network boot found nothing: `netboot` says what is served (docs/netboot.md), and the names have to be those that the boot file asks for.',
  },
  {
    pattern:
      /No DHCPOFFERS received|no lease, (failing|forking)|no answer by DHCP|DHCP.{0,200}(timed out|failed)/i,
    hint: "the guest asked for an address and got none: is the card that it asks on QEMU's (`network.model`)?",
  },
  {
    pattern: /A start job is running for /,
    hint: 'systemd waited for the job that the line names.',
    isPassing: true,
  },
  {
    pattern: /Timed out waiting for device|Failed to mount |Dependency failed for .{0,200}(\/|File System)/,
    hint: 'a file system could not be mounted: does /etc/fstab name a disk that this guest does not have? `nofail` lets it start without.',
  },
  {
    pattern:
      /cloud-init.{0,200}(Failed|Traceback|\[ERROR\])|Failed to start .{0,200}[Cc]loud-?init|Failed loading yaml blob/,
    hint: 'cloud-init failed, so that users and keys may be missing: /var/log/cloud-init.log in the guest has the reason.',
  },
  {
    pattern:
      /Failed to start .{0,200}(OpenSSH|Secure Shell|ssh)|sshd: no hostkeys available|(dropbear|sshd): not found/,
    hint: 'the SSH server could not be started.',
  },
  {
    pattern: /Failed to start .{0,200}[Nn]etwork/,
    hint: 'the guest could not set up its network.',
  },
  { pattern: /Failed to start /, hint: 'a service failed: see the line above.' },
  {
    pattern: /soft lockup - CPU|self-detected stall on CPU|Unable to calibrate against PIT/,
    hint: 'the guest did not get a processor of this host for long: run fewer guests at a time.',
    isPassing: true,
  },
]

/** Most lines are none of them: one pattern tells. */
const ANY = new RegExp(ROWS.map(({ pattern }) => `(?:${pattern.source})`).join('|'), 'i')

/** A line that tells why a start that fails did. */
export interface BootClue {
  readonly line: string
  readonly hint: string
  readonly isPassing: boolean
}

/** The clue that counts once this line has come: the first, as what comes later often comes of it. */
export function updateBootClue(known: BootClue | undefined, line: string): BootClue | undefined {
  if (known?.isPassing === false || !ANY.test(line)) return known
  const row = ROWS.find(({ pattern }) => pattern.test(line))
  if (row === undefined) return known
  return { line: line.trim(), hint: row.hint, isPassing: row.isPassing ?? false }
}
