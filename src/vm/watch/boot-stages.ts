import { describeArch, type GuestArch } from '../../spec/architectures.js'

/** The stages of a start, in their order. A guest is in one until it is seen in a later one. */
export const STAGES = [
  'qemu',
  'firmware',
  'bootloader',
  'kernel',
  'init',
  'network',
  'sshd',
  'login',
  'cloud-init',
] as const
export type Stage = (typeof STAGES)[number]

interface StageRow {
  readonly stage: Stage
  /** A line of the serial console that says that the guest has come to this stage. */
  readonly entered: RegExp | undefined
  /** How long a distribution takes for it at most on a host with KVM, milliseconds. */
  readonly deadlineMs: number
  /** What to look at when a guest stays here. CONSOLE stands for the architecture's own. */
  readonly hint: string
}

/** Readiness as data: what each stage looks like, how long it may take, what to do when it does not end. */
export const STAGE_ROWS: Readonly<Record<Stage, StageRow>> = {
  qemu: {
    stage: 'qemu',
    entered: undefined,
    deadlineMs: 5_000,
    hint: 'QEMU runs but does not answer. Is this host overloaded? `withvm doctor` tells.',
  },
  firmware: {
    stage: 'firmware',
    entered: /SeaBIOS|iPXE|BdsDxe|UEFI Interactive|PXE-[EM]\d|U-Boot (SPL )?\d{4}\.\d/,
    deadlineMs: 8_000,
    hint: 'the firmware found nothing that boots, or what it booted prints nothing on the serial console. Is the disk bootable? Does its boot loader use `console=CONSOLE`?',
  },
  bootloader: {
    stage: 'bootloader',
    entered: /GNU GRUB|Welcome to GRUB|GRUB loading|PXELINUX|ISOLINUX|SYSLINUX|Booting from|systemd-boot/,
    deadlineMs: 10_000,
    hint: 'the boot loader did not get to a kernel. Does its menu wait for a key? Does the kernel say `console=CONSOLE`?',
  },
  kernel: {
    stage: 'kernel',
    entered: /EFI stub:|Decompressing Linux|Booting the kernel|Linux version \d|^\[ *\d+\.\d{6}\]/,
    deadlineMs: 10_000,
    hint: 'the kernel did not get to its init. Does it have a driver for the root disk (virtio), and does `root=` name it?',
  },
  init: {
    stage: 'init',
    entered:
      /withvm: init|systemd\[1\]|Welcome to (?!GRUB|(ISO|SYS|PXE)LINUX|.{0,200}boot (menu|loader))|INIT: version|Run \S+ as init process|OpenRC|Begin: (Loading|Mounting|Running|Waiting) |Gave up waiting for root|dracut/,
    deadlineMs: 15_000,
    hint: 'the init system did not get as far as the network. Which service does it wait for?',
  },
  network: {
    stage: 'network',
    // What offers a login, and `tiny` where its SSH server listens, have their init behind them.
    entered:
      /(Starting|Started) .{0,200}[Nn]etwork|Reached target .{0,200}Network|udhcpc: started|dhclient|withvm: sshd| login: *$/,
    deadlineMs: 10_000,
    hint: 'nothing in the guest answers on the network. Does it have a driver for the card, and does it ask for an address by DHCP?',
  },
  sshd: {
    stage: 'sshd',
    entered: /withvm: network|Starting .{0,200}(OpenSSH|SSH|ssh)/,
    deadlineMs: 10_000,
    hint: "the guest's network works, but no SSH server answers. Is one installed and enabled? For a guest without one say ready: 'none' and ssh: false.",
  },
  login: {
    stage: 'login',
    entered: undefined,
    deadlineMs: 5_000,
    hint: 'the SSH server answers but does not let us in.',
  },
  'cloud-init': {
    stage: 'cloud-init',
    entered: undefined,
    deadlineMs: 300_000,
    hint: 'cloud-init did not come to its end. What it installs needs `network: { internet: true }`.',
  },
}

/** Returns what to look at when a guest of an architecture stays in a stage. */
export function stageHint(stage: Stage, arch: GuestArch): string {
  return STAGE_ROWS[stage].hint.replace('CONSOLE', describeArch(arch).console)
}

/** The stage that a line of the serial console shows, if it is a later one. */
export function laterStage(current: Stage, line: string): Stage | undefined {
  for (let index = STAGES.length - 1; index > STAGES.indexOf(current); index--) {
    const row = STAGE_ROWS[STAGES[index] as Stage]
    if (row.entered?.test(line)) return row.stage
  }
  return undefined
}

export function isLater(stage: Stage, than: Stage): boolean {
  return STAGES.indexOf(stage) > STAGES.indexOf(than)
}
