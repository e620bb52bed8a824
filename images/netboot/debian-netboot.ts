import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { MIB } from '../../src/common/units.js'
import { vmError } from '../../src/errors.js'
import { APT_TOOLS } from '../../src/packages/apt.js'
import { type Distribution, readDistribution } from '../../src/packages/distribution.js'
import { describeArch, type GuestArch } from '../../src/spec/architectures.js'
import type { BaseImage } from '../../src/spec/base-image.js'
import { debianArchitecture } from '../debian-architectures.js'
import type { Recipe } from '../recipe.js'
import { withPackages } from './packages.js'

const REVISION = 1
/** Releases with a package of the installer's tree, by codename. */
const RELEASES: Readonly<Record<string, number>> = { bullseye: 11, bookworm: 12, trixie: 13, forky: 14 }
const TREE = 'tree'

/**
 * Debian's installer: the network boot tree from its package, for PCs with PXELINUX, with GRUB for
 * UEFI, and menus. As an image, it boots the installer's kernel directly.
 */
export const debianNetboot: Recipe = {
  name: 'debian-netboot',
  plan: { name: 'debian-netboot', leastMs: 1000 },
  architectures: ['x86_64', 'i386', 'aarch64'],
  tools: Object.values(APT_TOOLS),
  async readInputs(arch) {
    const distribution = await readDistribution()
    return { revision: REVISION, package: packageOf(distribution, arch) }
  },
  async build(context) {
    const distribution = await readDistribution()
    const release = RELEASES[distribution.codename]
    await withPackages({ ...context, packages: [packageOf(distribution, context.arch)] }, async (root) => {
      const text = join(
        root,
        `usr/lib/debian-installer/images/${release}/${debianArchitecture(context.arch).name}/text`,
      )
      // Its links are relative to each other.
      await cp(text, join(context.dir, TREE), { recursive: true, verbatimSymlinks: true })
    })
  },
  async open(dir, arch): Promise<BaseImage> {
    const below = join('debian-installer', debianArchitecture(arch).name)
    const file = (name: string) => join(dir, TREE, below, name)
    return {
      name: 'debian-netboot',
      directBoot: {
        kernel: file('linux'),
        initrd: file('initrd.gz'),
        append: [`console=${describeArch(arch).console}`],
      },
      traits: {
        sshUser: 'installer',
        credentials: 'none',
        mayHaveCloudInit: false,
        hasAgent: false,
        bootTimeFactor: 1,
      },
      defaults: { memoryBytes: 512 * MIB, cpus: 1 },
    }
  },
}

/** Returns the folder of the tree in the recipe's folder. */
export function debianTree(dir: string): string {
  return join(dir, TREE)
}

function packageOf(distribution: Distribution, arch: GuestArch): string {
  const release = distribution.id === 'debian' ? RELEASES[distribution.codename] : undefined
  if (release !== undefined) return `debian-installer-${release}-netboot-${debianArchitecture(arch).name}`
  throw vmError('IMAGE_BUILD_FAILED', {
    summary:
      "The netboot image of the Debian installer requires a Debian package that this host's distribution does not provide.",
    expected: `Debian ${Object.keys(RELEASES).join(', ')}`,
    got: distribution.name,
    hint: "Download the installer's netboot.tar.gz, unpack it, and set `netboot.root` to that folder.",
  })
}
