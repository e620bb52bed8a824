import type { Stage } from './boot-stages.js'

interface ClueRow {
  readonly pattern: RegExp
  /** Explanation and advice. */
  readonly hint: string
  /** If true, the problem may be temporary: any other clue, or a later one, replaces it. */
  readonly isTemporary?: boolean
  /** Stage whose own hint this one makes more specific. */
  readonly stage?: Stage
}

/**
 * Lines of the serial console that do not end a start, but explain why it fails. The patterns match
 * the messages of the programs that print them. The first matching row is used. Repetitions are
 * bounded, as in `guest-failures.ts`.
 */
const ROWS: readonly ClueRow[] = [
  {
    pattern: /No space left on device/,
    hint: 'A file system of the guest is full. Free space in the image or use a larger disk; a tmpfs needs more `memory`.',
  },
  {
    pattern: /Read-only file system/,
    hint: 'A file system of the guest is mounted read-only. Check whether it is damaged, or was never remounted read-write.',
  },
  {
    pattern:
      /EXT4-fs error|XFS \(\S+\): .{0,200}[Cc]orrupt|BTRFS.{0,200}(corrupt|csum failed)|UNEXPECTED INCONSISTENCY/,
    hint: 'A file system of the guest is damaged. Check the image with `fsck`, and how it was built.',
  },
  {
    pattern: /I\/O error, dev \S+|Buffer I\/O error/,
    hint: 'The guest could not read its disk. Check that the image is complete and as large as its partition table requires.',
  },
  {
    pattern: /Initramfs unpacking failed/,
    hint: 'The kernel could not unpack the initrd. Check whether it is damaged, compressed in a format that the kernel does not support, or too large for `memory`.',
  },
  {
    pattern: /check access for rdinit=\S+ failed|Failed to execute \S+ \(error -\d+\)/,
    hint: 'Check the init program: does it exist, is it executable, and do its interpreter and libraries exist?',
  },
  {
    pattern: /error while loading shared libraries|Error relocating/,
    hint: 'Add the missing library to the guest or its initrd; list the libraries of a program with `ldd`.',
  },
  {
    pattern: /withvm: (\/sbin\/init on \S+|the root file system on \S+) cannot be/,
    hint: 'Files needed for booting are missing. Check what the test did to the root disk before the guest was powered off.',
  },
  {
    pattern: /PXE-[EM]\d+|No more network devices|Nothing to boot:|Failed to load ldlinux/,
    hint: 'Check the files of `netboot` (docs/netboot.md): their names must match those that the boot file requests.',
  },
  {
    pattern:
      /No DHCPOFFERS received|no lease, (failing|forking)|no answer by DHCP|DHCP.{0,200}(timed out|failed)/i,
    hint: "The DHCP request of the guest was not answered. Check that the guest uses QEMU's network card (`network.model`).",
  },
  {
    pattern: /A start job is running for /,
    hint: 'The job named above did not finish, and systemd was waiting for it. Check why.',
    isTemporary: true,
  },
  {
    pattern: /Timed out waiting for device|Failed to mount |Dependency failed for .{0,200}(\/|File System)/,
    hint: 'A file system could not be mounted. Check /etc/fstab for a disk that this guest does not have, or add `nofail` there.',
  },
  {
    pattern:
      /cloud-init.{0,200}(Failed|Traceback|\[ERROR\])|Failed to start .{0,200}[Cc]loud-?init|Failed loading yaml blob/,
    hint: 'Users and keys may be missing, because cloud-init failed. Read /var/log/cloud-init.log in the guest.',
  },
  {
    pattern:
      /Failed to start .{0,200}(OpenSSH|Secure Shell|ssh)|sshd: no hostkeys available|(dropbear|sshd): not found/,
    hint: 'Check why the SSH server did not start.',
    stage: 'sshd',
  },
  {
    pattern: /Failed to start .{0,200}[Nn]etwork/,
    hint: 'Check why the guest could not set up its network.',
    stage: 'network',
  },
  { pattern: /Failed to start /, hint: 'Check why this service failed.' },
  {
    pattern: /soft lockup - CPU|self-detected stall on CPU|Unable to calibrate against PIT/,
    hint: 'Run fewer guests in parallel: the guest was not scheduled on a host CPU for a long time.',
    isTemporary: true,
  },
]

/** Pattern of all rows together. Most lines match no row, and this pattern rejects them quickly. */
const ANY_CLUE = new RegExp(ROWS.map(({ pattern }) => `(?:${pattern.source})`).join('|'), 'i')

/** Console line that explains a failed start. */
export interface BootClue {
  readonly line: string
  readonly hint: string
  readonly isTemporary: boolean
  readonly stage: Stage | undefined
}

/**
 * Returns the clue after this line: the first one, because later problems are often its
 * consequences.
 */
export function updateBootClue(known: BootClue | undefined, line: string): BootClue | undefined {
  if (known?.isTemporary === false || !ANY_CLUE.test(line)) return known
  const row = ROWS.find(({ pattern }) => pattern.test(line))
  if (row === undefined) return known
  return { line: line.trim(), hint: row.hint, isTemporary: row.isTemporary ?? false, stage: row.stage }
}
