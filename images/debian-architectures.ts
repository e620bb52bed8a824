import type { Distribution } from '../src/packages/distribution.js'
import type { GuestArch } from '../src/spec/architectures.js'

/** Names that Debian and Ubuntu use for an architecture. */
interface DebianArchitecture {
  /** Architecture of packages. */
  readonly name: string
  /** Folder of its libraries below `/usr/lib` (Debian's multiarch tuples). */
  readonly libraries: string
  /**
   * Codename of the first release with the architecture, and of older supported releases without
   * it.
   */
  readonly since?: { readonly codename: string; readonly after: readonly string[] }
}

/** Architectures that Debian is released for. */
export const DEBIAN_ARCHITECTURES: Partial<Record<GuestArch, DebianArchitecture>> = {
  x86_64: { name: 'amd64', libraries: 'x86_64-linux-gnu' },
  i386: { name: 'i386', libraries: 'i386-linux-gnu' },
  aarch64: { name: 'arm64', libraries: 'aarch64-linux-gnu' },
  arm: { name: 'armhf', libraries: 'arm-linux-gnueabihf' },
  riscv64: {
    name: 'riscv64',
    libraries: 'riscv64-linux-gnu',
    since: { codename: 'trixie', after: ['bullseye', 'bookworm'] },
  },
  ppc64: { name: 'ppc64el', libraries: 'powerpc64le-linux-gnu' },
  s390x: { name: 's390x', libraries: 's390x-linux-gnu' },
}

/**
 * Returns a release of the host's distribution that supports an architecture: its own, or the first
 * one that does.
 */
export function releaseWith(arch: GuestArch, { id, codename }: Distribution): string {
  const { since } = debianArchitecture(arch)
  return id === 'debian' && since?.after.includes(codename) ? since.codename : codename
}

/** Returns the names of a supported architecture. */
export function debianArchitecture(arch: GuestArch): DebianArchitecture {
  const found = DEBIAN_ARCHITECTURES[arch]
  if (found === undefined) throw new TypeError(`Debian has no packages for ${arch}.`)
  return found
}
