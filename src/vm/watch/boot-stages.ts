import { describeArch, type GuestArch } from '../../spec/architectures.js'

/** Stages of a start, in their order. A guest stays in a stage until it is seen in a later one. */
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
/** Stage of a start. */
export type Stage = (typeof STAGES)[number]

interface StageRow {
  readonly stage: Stage
  /** Console line that shows that the guest entered this stage. */
  readonly entered: RegExp | undefined
  /**
   * Maximum duration for common distributions on a host with KVM, in milliseconds. Multiplied by
   * the image's `bootTimeFactor` and the host's `timeFactor`, and at least 3 s: see
   * `power/readiness.ts`.
   */
  readonly limitMs: number
  /**
   * Advice for a guest that stays in this stage. CONSOLE is replaced by the architecture's console
   * device.
   */
  readonly hint: string
}

/** Stages with their console lines, time limits and hints. */
export const STAGE_ROWS: Readonly<Record<Stage, StageRow>> = {
  qemu: {
    stage: 'qemu',
    entered: undefined,
    limitMs: 5_000,
    hint: 'QEMU runs but does not respond. Run `withvm doctor` to check the load of this host.',
  },
  firmware: {
    stage: 'firmware',
    entered: /SeaBIOS|iPXE|BdsDxe|UEFI Interactive|PXE-[EM]\d|U-Boot (SPL )?\d{4}\.\d/,
    limitMs: 8_000,
    hint: 'The firmware found nothing to boot, or the booted program prints nothing on the serial console. Check that the disk is bootable and that its boot loader uses `console=CONSOLE`.',
  },
  bootloader: {
    stage: 'bootloader',
    entered: /GNU GRUB|Welcome to GRUB|GRUB loading|PXELINUX|ISOLINUX|SYSLINUX|Booting from|systemd-boot/,
    limitMs: 10_000,
    hint: 'No output of a kernel appeared. Check whether the boot menu waits for a key, and whether the kernel arguments include `console=CONSOLE`.',
  },
  kernel: {
    stage: 'kernel',
    entered: /EFI stub:|Decompressing Linux|Booting the kernel|Linux version \d|^\[ *\d+\.\d{6}\]/,
    limitMs: 10_000,
    hint: 'The kernel did not start init. Check that it has a driver for the root disk (virtio), and that `root=` names the disk.',
  },
  init: {
    stage: 'init',
    entered:
      /withvm: init|systemd\[1\]|Welcome to (?!GRUB|(ISO|SYS|PXE)LINUX|.{0,200}boot (menu|loader))|INIT: version|Run \S+ as init process|OpenRC|Begin: (Loading|Mounting|Running|Waiting) |Gave up waiting for root|dracut/,
    limitMs: 15_000,
    hint: 'The init system did not start the network. Check which service it is waiting for.',
  },
  network: {
    stage: 'network',
    // A login prompt, and the line of `tiny` when its SSH server listens, come after init.
    entered:
      /(Starting|Started) .{0,200}[Nn]etwork|Reached target .{0,200}Network|udhcpc: started|dhclient|withvm: sshd| login: *$/,
    limitMs: 10_000,
    hint: 'The guest does not respond on the network. Check that it has a driver for its network card and requests an address over DHCP.',
  },
  sshd: {
    stage: 'sshd',
    entered: /withvm: network|Starting .{0,200}(OpenSSH|SSH|ssh)/,
    limitMs: 10_000,
    hint: "Check that an SSH server is installed and enabled, or set ready: 'none' and ssh: false: the network works, but no SSH server answers.",
  },
  login: {
    stage: 'login',
    entered: undefined,
    limitMs: 5_000,
    hint: 'Check the user and the key: the SSH server answers, but the login fails.',
  },
  'cloud-init': {
    stage: 'cloud-init',
    entered: undefined,
    limitMs: 300_000,
    hint: 'Set `network: { internet: true }` if cloud-init installs packages: it did not finish.',
  },
}

/** Returns the hint for a guest of an architecture that stays in a stage. */
export function stageHint(stage: Stage, arch: GuestArch): string {
  return STAGE_ROWS[stage].hint.replace('CONSOLE', describeArch(arch).console)
}

/** Returns the stage that a console line shows, if it is later than the current one. */
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
