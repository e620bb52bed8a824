import type { Distribution } from '../src/packages/distribution.js'
import type { GuestArch } from '../src/spec/architectures.js'

/** What Debian, and Ubuntu after it, call an architecture. */
interface DebianArchitecture {
  /** As packages have it. */
  readonly name: string
  /** The folder of its libraries below `/usr/lib` (Debian's multiarch tuples). */
  readonly libraries: string
  /** The first release with it, by its codename, where that is no older than what withvm runs on. */
  readonly since?: { readonly codename: string; readonly after: readonly string[] }
}

/** The architectures that Debian is released for. */
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

/** The release of this host's distribution that has an architecture: its own, or the first with it. */
export function releaseWith(arch: GuestArch, { id, codename }: Distribution): string {
  const { since } = debianArchitecture(arch)
  return id === 'debian' && since?.after.includes(codename) ? since.codename : codename
}

/** That of one that a recipe is made for. */
export function debianArchitecture(arch: GuestArch): DebianArchitecture {
  const found = DEBIAN_ARCHITECTURES[arch]
  if (found === undefined) throw new TypeError(`Debian has no packages for ${arch}`)
  return found
}
