import { readOptionalFile } from '../common/files/optional-file.js'
import { parseOsRelease } from '../common/os-release.js'
import type { GuestArch } from '../spec/architectures.js'

/** Package managers whose package names withvm knows. */
export type PackageManager = 'apt' | 'dnf' | 'pacman' | 'zypper' | 'brew'

export interface Distribution {
  /** Display name, such as `Debian GNU/Linux 12 (bookworm)`. */
  readonly name: string
  readonly packageManager: PackageManager | undefined
}

const MANAGER_OF: Readonly<Record<string, PackageManager>> = {
  debian: 'apt',
  ubuntu: 'apt',
  fedora: 'dnf',
  rhel: 'dnf',
  centos: 'dnf',
  arch: 'pacman',
  suse: 'zypper',
  opensuse: 'zypper',
}

/** Reads os-release(5). The package manager depends on `ID`, then on each word of `ID_LIKE`. */
export function readDistribution(
  osReleasePath = '/etc/os-release',
  platform: NodeJS.Platform = process.platform,
): Distribution {
  if (platform === 'darwin') return { name: 'macOS', packageManager: 'brew' }
  const fields = parseOsRelease(readOptionalFile(osReleasePath))
  const ids = [fields.get('ID') ?? '', ...(fields.get('ID_LIKE') ?? '').split(/\s+/)]
  const known = ids.find((id) => id in MANAGER_OF)
  return {
    name: fields.get('PRETTY_NAME') ?? fields.get('ID') ?? 'an unknown system',
    packageManager: known === undefined ? undefined : MANAGER_OF[known],
  }
}

const INSTALL: Readonly<Record<PackageManager, string>> = {
  apt: 'sudo apt-get install -y --no-install-recommends',
  dnf: 'sudo dnf install -y',
  pacman: 'sudo pacman -S --needed --noconfirm',
  zypper: 'sudo zypper install -y',
  brew: 'brew install',
}

/** Package names that differ from those of Debian. */
const PACKAGE_NAMES: Readonly<Record<string, Partial<Record<PackageManager, string>>>> = {
  'qemu-system-x86': { dnf: 'qemu-kvm', pacman: 'qemu-base', zypper: 'qemu-x86', brew: 'qemu' },
  'qemu-utils': { dnf: 'qemu-img', pacman: 'qemu-img', zypper: 'qemu-img', brew: 'qemu' },
  ovmf: { dnf: 'edk2-ovmf', pacman: 'edk2-ovmf', zypper: 'qemu-ovmf-x86_64', brew: 'qemu' },
  'qemu-efi-aarch64': {
    dnf: 'edk2-aarch64',
    pacman: 'edk2-aarch64',
    zypper: 'qemu-uefi-aarch64',
    brew: 'qemu',
  },
  'xz-utils': { dnf: 'xz', pacman: 'xz', zypper: 'xz', brew: 'xz' },
}

/** Returns the package that contains QEMU for an architecture. */
export function qemuPackage(arch: GuestArch, packageManager: PackageManager | undefined): string {
  const [debian, split, suse] = QEMU_PACKAGES[arch]
  if (packageManager === 'dnf' || packageManager === 'pacman') return split ?? debian
  if (packageManager === 'zypper') return suse ?? debian
  return packageManager === 'brew' ? 'qemu' : debian
}

/**
 * QEMU packages: on Debian 12; on Fedora and Arch, with one package per architecture; on openSUSE.
 * `PACKAGE_NAMES` lists x86.
 */
const QEMU_PACKAGES: Readonly<Record<GuestArch, readonly [string, string?, string?]>> = {
  x86_64: ['qemu-system-x86'],
  i386: ['qemu-system-x86'],
  aarch64: ['qemu-system-arm', 'qemu-system-aarch64', 'qemu-arm'],
  arm: ['qemu-system-arm', 'qemu-system-arm', 'qemu-arm'],
  riscv64: ['qemu-system-misc', 'qemu-system-riscv', 'qemu-extra'],
  s390x: ['qemu-system-misc', 'qemu-system-s390x', 'qemu-s390x'],
  ppc64: ['qemu-system-ppc', 'qemu-system-ppc', 'qemu-ppc'],
  ppc: ['qemu-system-ppc', 'qemu-system-ppc', 'qemu-ppc'],
  sparc: ['qemu-system-sparc', 'qemu-system-sparc', 'qemu-extra'],
  sparc64: ['qemu-system-sparc', 'qemu-system-sparc', 'qemu-extra'],
}

/**
 * Returns the command that installs the given Debian packages, with the package names of that
 * package manager.
 */
export function installCommand(
  aptPackages: readonly string[],
  packageManager: PackageManager | undefined,
): string | undefined {
  if (packageManager === undefined) return undefined
  const names = aptPackages.map((name) => PACKAGE_NAMES[name]?.[packageManager] ?? name)
  return [INSTALL[packageManager], ...new Set(names)].join(' ')
}
