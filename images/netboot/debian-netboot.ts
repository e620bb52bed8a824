import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { vmError } from '../../src/errors.js'
import { APT_TOOLS } from '../../src/packages/apt.js'
import { type Distribution, readDistribution } from '../../src/packages/distribution.js'
import { describeArch, type GuestArch } from '../../src/spec/architectures.js'
import type { BaseImage } from '../../src/spec/base-image.js'
import { debianArchitecture } from '../debian-architectures.js'
import type { Recipe } from '../recipe.js'
import { withPackages } from './packages.js'

const REVISION = 1
const MIB = 1024 ** 2
/** The releases that have the installer's tree as a package, by their code names. */
const RELEASES: Readonly<Record<string, number>> = { bullseye: 11, bookworm: 12, trixie: 13, forky: 14 }
const TREE = 'tree'

/**
 * Debian's installer: the tree for network boots that its package has, for PCs with PXELINUX, with GRUB for UEFI, and their menus. As
 * an image it is the installer, whose kernel QEMU loads by itself.
 */
export const debianNetboot: Recipe = {
  name: 'debian-netboot',
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
      // Its links lead from one place of it to another.
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
        hasIdentityAgent: false,
        startEffort: 1,
      },
      defaults: { memoryBytes: 512 * MIB, cpus: 1 },
    }
  },
}

/** The folder of the tree in the folder of the recipe. */
export function debianTree(dir: string): string {
  return join(dir, TREE)
}

function packageOf(distribution: Distribution, arch: GuestArch): string {
  const release = distribution.id === 'debian' ? RELEASES[distribution.codename] : undefined
  if (release !== undefined) return `debian-installer-${release}-netboot-${debianArchitecture(arch).name}`
  throw vmError('IMAGE_BUILD_FAILED', {
    summary:
      "Debian's installer is made from a package of Debian, and this host's distribution has none such.",
    expected: `Debian ${Object.keys(RELEASES).join(', ')}`,
    got: distribution.name,
    hint: 'fetch its netboot.tar.gz, and give the folder with what is in it as `netboot.root`.',
  })
}
