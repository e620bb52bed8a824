import { type ErrorCode, type VMError, vmError } from '../errors.js'
import type { QemuExit } from './process.js'

type FailureCode = Exclude<ErrorCode, 'COMMAND_FAILED' | 'COMMAND_TIMEOUT'>

interface KnownFailure {
  readonly pattern: RegExp
  readonly code: FailureCode
  readonly summary: string
  readonly hint: string
}

/** What QEMU says when it ends by itself, and what it means. The first that matches counts. */
const KNOWN_FAILURES: readonly KnownFailure[] = [
  {
    pattern: /Could not set up host forwarding rule|Address already in use/,
    code: 'PORT_UNAVAILABLE',
    summary: 'a host port that is to lead to the guest is taken',
    hint: 'leave out `host` to get a free port, or end what listens on it.',
  },
  {
    pattern: /Failed to get "?(shared )?"?\w+"? lock|Failed to lock byte/,
    code: 'IMAGE_LOCKED',
    summary: 'another process has the image open for writing',
    hint: 'end the QEMU (or qemu-img) that has it open, or copy the image.',
  },
  {
    pattern: /Invalid password, cannot unlock any keyslot/,
    code: 'IMAGE_INVALID',
    summary: 'the secret does not open the encrypted image',
    hint: 'check `secret`. Of a file all bytes count: a line end that an editor or `echo` puts at its end too (`printf %s` puts none).',
  },
  {
    pattern: /No space left on device/,
    code: 'NO_SPACE',
    summary: 'the disk is full',
    hint: 'free some space, or point `tmpdir` at a folder with more.',
  },
  {
    pattern:
      /invalid kernel header|without PVH ELF Note|could not load kernel|could not open kernel file|linux kernel too old/i,
    code: 'IMAGE_INVALID',
    summary: 'the kernel cannot be loaded',
    hint: 'give a bzImage, or a vmlinux with a PVH entry.',
  },
  {
    pattern: /could not load initrd|error reading initrd/i,
    code: 'IMAGE_INVALID',
    summary: 'the initrd cannot be loaded',
    hint: 'give the path of a readable initrd (a cpio archive, packed or not).',
  },
  {
    pattern: /Could not find ROM image|could not load (PC )?BIOS|Unable to find the \S+ firmware/i,
    code: 'FIRMWARE_NOT_FOUND',
    summary: 'QEMU cannot load the firmware file',
    hint: "Set `firmware: { type: 'bios', file }` to the path of firmware for this machine, of a size that its ROM takes.",
  },
  {
    pattern:
      /unsupported machine type|unable to find CPU model|is not a valid device model name|Property .* not found/i,
    code: 'MACHINE_UNSUPPORTED',
    summary: 'this QEMU does not know a machine, CPU, device or property that was asked for',
    hint: 'choose one that QEMU lists by `-M help`, `-cpu help` or `-device help`.',
  },
  {
    pattern: /[Cc]annot set up guest memory|cannot allocate memory/i,
    code: 'QEMU_FAILED',
    summary: "the host has not enough memory for the guest's RAM",
    hint: 'give the guest less `memory`, or run fewer guests at a time.',
  },
  {
    pattern:
      /Could not access KVM|failed to initialize kvm|failed to set MSR|kvm_\w+: Assertion|KVM_\w+\)? failed/i,
    code: 'ACCELERATOR_FAILED',
    summary: 'QEMU could not use KVM',
    hint: "use accel: 'tcg', or `withvm doctor` to see what KVM needs.",
  },
  {
    pattern: /gtk initialization failed|Could not initialize SDL|cannot open display|Error opening terminal/i,
    code: 'QEMU_FAILED',
    summary: 'it found no screen to show the guest on',
    hint: 'start it where DISPLAY or WAYLAND_DISPLAY names a screen (TERM for a text screen), or use `vnc: true`.',
  },
  {
    pattern: /invalid option|Invalid parameter|drive with bus|requires an argument/i,
    code: 'QEMU_FAILED',
    summary: 'QEMU does not take its command line',
    hint: "check `qemuArgs`; QEMU's own words are above.",
  },
]

/** Whether QEMU ended because another program had a port by the time it wanted it. */
export function isPortTaken(stderr: string): boolean {
  return KNOWN_FAILURES[0]?.pattern.test(stderr) ?? false
}

/** The error of a QEMU that ended before it answered. */
export function explainStartFailure(exit: QemuExit): VMError {
  if (exit.signal === 'SIGBUS') return memoryFileFailed(exit)
  const known = KNOWN_FAILURES.find(({ pattern }) => pattern.test(exit.stderr))
  return vmError(known?.code ?? 'QEMU_FAILED', {
    summary: `QEMU did not start: ${known?.summary ?? `it ended with ${describeExit(exit)}`}.`,
    evidence: [{ label: "QEMU's standard error", text: exit.stderr || '(empty)' }],
    hint:
      known?.hint ??
      (exit.signal === 'SIGSYS'
        ? SANDBOXED
        : "Read QEMU's own words above; the command line above starts it by hand."),
  })
}

const SANDBOXED =
  'it did what its sandbox forbids: what `qemuArgs` ask for may need to start programs. An option of withvm for it lets it.'

/** The error of a QEMU that found no page of a file behind an address of the guest's RAM. */
export function memoryFileFailed(exit: QemuExit): VMError {
  return vmError('NO_SPACE', {
    summary:
      "QEMU could not go on: the disk with the file of the guest's RAM is full, or the file was cut off.",
    got: describeExit(exit),
    hint: 'free some space in the cache (`withvm templates prune`), or point WITHVM_CACHE at a folder with more.',
  })
}

export function describeExit(exit: QemuExit): string {
  return exit.signal === undefined ? `exit code ${exit.exitCode}` : `signal ${exit.signal}`
}
