import { type ErrorCode, type VMError, vmError } from '../errors.js'
import type { QemuExit } from './process.js'

type FailureCode = Exclude<ErrorCode, 'COMMAND_FAILED' | 'COMMAND_TIMEOUT'>

interface KnownFailure {
  readonly pattern: RegExp
  readonly code: FailureCode
  readonly reason: string
  readonly hint: string
}

/**
 * Known messages of a QEMU that ends during its start. The first match is used. The caller replaces
 * the error of a port that is in use ({@link isPortTaken}).
 */
const KNOWN_FAILURES: readonly KnownFailure[] = [
  {
    pattern: /Failed to get "?(shared )?"?\w+"? lock|Failed to lock byte/,
    code: 'IMAGE_LOCKED',
    reason: 'another process has opened the image for writing',
    hint: 'Stop the QEMU or qemu-img process that uses the image, or copy the image.',
  },
  {
    pattern: /Invalid password, cannot unlock any keyslot/,
    code: 'IMAGE_INVALID',
    reason: 'the secret does not unlock the encrypted image',
    hint: 'Check `secret`. All bytes of a secret file count, including a trailing line end: write it with `printf %s`.',
  },
  {
    pattern: /No space left on device/,
    code: 'NO_SPACE',
    reason: 'the disk is full',
    hint: 'Free some space, or set `tmpdir` to a folder with more space.',
  },
  {
    pattern:
      /invalid kernel header|without PVH ELF Note|could not load kernel|could not open kernel file|linux kernel too old/i,
    code: 'IMAGE_INVALID',
    reason: 'the kernel cannot be loaded',
    hint: 'Use a bzImage, or a vmlinux with a PVH entry point.',
  },
  {
    pattern: /could not load initrd|error reading initrd/i,
    code: 'IMAGE_INVALID',
    reason: 'the initrd cannot be loaded',
    hint: 'Specify a readable initrd: a cpio archive, compressed or not.',
  },
  {
    pattern: /Could not find ROM image|could not load (PC )?BIOS|Unable to find the \S+ firmware/i,
    code: 'FIRMWARE_NOT_FOUND',
    reason: 'QEMU cannot load the firmware file',
    hint: "Set `firmware: { type: 'bios', file }` to firmware for this machine type, of a size that its ROM supports.",
  },
  {
    pattern:
      /unsupported machine type|unable to find CPU model|is not a valid device model name|Property .* not found/i,
    code: 'MACHINE_UNSUPPORTED',
    reason: 'this QEMU does not support a specified machine, CPU, device or property',
    hint: 'Choose one from the lists of `-M help`, `-cpu help` or `-device help`.',
  },
  {
    pattern: /[Cc]annot set up guest memory|cannot allocate memory/i,
    code: 'QEMU_FAILED',
    reason: "the host does not have enough memory for the guest's RAM",
    hint: 'Lower `memory`, or run fewer guests at a time.',
  },
  {
    pattern:
      /Could not access KVM|failed to initialize kvm|failed to set MSR|kvm_\w+: Assertion|KVM_\w+\)? failed/i,
    code: 'ACCELERATOR_FAILED',
    reason: 'QEMU could not use KVM',
    hint: "Use `accel: 'tcg'`, or run `withvm doctor` to find the problem of KVM.",
  },
  {
    pattern: /gtk initialization failed|Could not initialize SDL|cannot open display|Error opening terminal/i,
    code: 'QEMU_FAILED',
    reason: 'there is no X11, Wayland or terminal display for its window',
    hint: 'Set DISPLAY or WAYLAND_DISPLAY (TERM for a text screen), or use `vnc: true`.',
  },
  {
    pattern: /invalid option|Invalid parameter|drive with bus|requires an argument/i,
    code: 'QEMU_FAILED',
    reason: 'it rejected its command line',
    hint: 'Check `qemuArgs`, and the message of QEMU above.',
  },
]

/** Returns true if QEMU ended because another program has taken a port in the meantime. */
export function isPortTaken(stderr: string): boolean {
  return /Could not set up host forwarding rule|Address already in use/.test(stderr)
}

/** Builds the error of a QEMU that ended during its start. */
export function explainStartFailure(exit: QemuExit): VMError {
  if (exit.signal === 'SIGBUS') return memoryFileError(exit)
  const known = KNOWN_FAILURES.find(({ pattern }) => pattern.test(exit.stderr))
  return vmError(known?.code ?? 'QEMU_FAILED', {
    summary: `QEMU did not start: ${known?.reason ?? `it ended with ${describeExit(exit)}`}.`,
    evidence: [{ label: "QEMU's stderr", text: exit.stderr || '(empty)' }],
    hint:
      known?.hint ??
      (exit.signal === 'SIGSYS'
        ? SANDBOXED
        : 'Read the message of QEMU above. Run the command line above to reproduce the failure.'),
  })
}

const SANDBOXED =
  'Use options of withvm instead of `qemuArgs` where possible. Some features of QEMU start programs, which the sandbox forbids.'

/** Builds the error of a SIGBUS: the file of the guest's RAM has no page for an address. */
export function memoryFileError(exit: QemuExit): VMError {
  return vmError('NO_SPACE', {
    summary:
      "QEMU was killed by SIGBUS: the file system of the guest's RAM file is full, or the RAM file was truncated.",
    got: describeExit(exit),
    hint: 'Free some space in the cache (`withvm templates prune`), or set WITHVM_CACHE to a folder with more space.',
  })
}

export function describeExit(exit: QemuExit): string {
  return exit.signal === undefined ? `exit code ${exit.exitCode}` : `signal ${exit.signal}`
}
