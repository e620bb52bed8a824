import { cp, mkdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { debianNetboot, debianTree } from '../../images/netboot/debian-netboot.js'
import { copyFiles, type UnpackOptions, withPackages } from '../../images/netboot/packages.js'
import type { BuildContext } from '../../images/recipe.js'
import { type HostTool, runTool } from '../common/process/run-tool.js'
import { readDistribution } from '../packages/distribution.js'
import type { GuestArch } from '../spec/architectures.js'
import type { NetbootTree } from '../spec/netboot.js'
import { requireArch } from './open-recipe.js'
import type { ResolveImageOptions } from './resolve-image.js'
import { openStored } from './stored-image.js'

/** Increase when this code changes its output. */
const REVISION = 1

interface TreeRecipe extends Pick<UnpackOptions, 'packages' | 'keep'> {
  /** Fills `dir` from the packages unpacked in `root`. */
  fill(root: string, context: BuildContext): Promise<void>
}

const RECIPES: Readonly<Record<Exclude<NetbootTree, 'debian-netboot'>, TreeRecipe>> = {
  pxelinux: {
    packages: ['pxelinux', 'syslinux-common'],
    async fill(root, { dir }) {
      await copyFiles(join(root, 'usr/lib/PXELINUX'), dir, /\.0$/)
      await copyFiles(
        join(root, 'usr/lib/syslinux/modules/bios'),
        dir,
        /^(ldlinux|lib(com32|util|menu|gpl)|menu|vesamenu|chain|ifcpu64|linux|mboot|poweroff|reboot|localboot|config|cmd|hdt|whichsys)\.c32$/,
      )
      await copyFiles(join(root, 'usr/lib/syslinux'), dir, /^memdisk$/)
    },
  },
  ipxe: {
    packages: ['ipxe'],
    async fill(root, { dir }) {
      await copyFiles(join(root, 'usr/lib/ipxe'), dir, /\.(k?pxe|kkpxe)$|^snponly\.efi$/)
      await copyFiles(join(root, 'boot'), dir, /^ipxe\.(efi|lkrn)$/)
    },
  },
  grub: {
    packages: ['grub-common', 'grub-pc-bin', 'grub-efi-amd64-bin'],
    keep: (name) => /^lib(lzma|devmapper|selinux|udev|pcre2)/.test(name),
    fill: buildGrub,
  },
  memtest: {
    packages: ['memtest86+'],
    async fill(root, { dir }) {
      await cp(join(root, 'boot/memtest86+x64.bin'), join(dir, 'memtest.bin'))
      await cp(join(root, 'boot/memtest86+x64.efi'), join(dir, 'memtest.efi'))
    },
  },
}

/**
 * Returns the folder of a network boot tree, building it in the cache first if necessary.
 *
 * @throws {InfrastructureError} IMAGE_BUILD_FAILED, NO_SPACE, TOOL_NOT_FOUND.
 */
export async function openNetbootTree(
  name: NetbootTree,
  options: ResolveImageOptions & { readonly arch: GuestArch },
): Promise<string> {
  const { arch, signal } = options
  if (name === 'debian-netboot') {
    requireArch(debianNetboot, arch)
    const inputs = await debianNetboot.readInputs(arch)
    return debianTree(
      await openStored(`building ${name}`, options, {
        name,
        origin: name,
        inputs,
        build: (dir, _partial, report) => debianNetboot.build({ dir, arch, signal, report }),
      }),
    )
  }
  const { packages, keep, fill } = RECIPES[name]
  const { id, codename } = await readDistribution()
  const dir = await openStored(`fetching ${name}`, options, {
    name: `netboot-${name}`,
    origin: name,
    inputs: { revision: REVISION, suite: `${id} ${codename}`, packages },
    build: async (building, _partial, report) => {
      const context = { dir: building, arch, signal, report }
      await withPackages({ ...context, packages, keep }, async (root) => {
        await mkdir(join(building, 'tree'))
        await fill(root, { ...context, dir: join(building, 'tree') })
      })
    },
  })
  return join(dir, 'tree')
}

/**
 * Modules embedded in a GRUB core, enough to load its configuration and a kernel without fetching
 * more.
 */
const GRUB_MODULES = [
  'tftp',
  'http',
  'normal',
  'configfile',
  'linux',
  'serial',
  'terminal',
  'echo',
  'test',
  'sleep',
  'reboot',
  'halt',
  'chain',
  'search',
]
const GRUB_CORES = [
  { platform: 'i386-pc', format: 'i386-pc-pxe', core: 'core.0', modules: ['pxe', 'linux16'] },
  { platform: 'x86_64-efi', format: 'x86_64-efi', core: 'core.efi', modules: ['efinet'] },
] as const

/**
 * Builds a GRUB core for each kind of firmware, which reads `grub/grub.cfg`, with all modules next
 * to it.
 */
async function buildGrub(root: string, { dir, signal }: BuildContext): Promise<void> {
  const tool: HostTool = {
    program: join(root, 'usr/bin/grub-mkimage'),
    aptPackage: 'grub-common',
    why: 'builds GRUB for network boots',
  }
  const libraries = ['usr/lib', 'lib'].map((lib) => join(root, lib, 'x86_64-linux-gnu'))
  for (const { platform, format, core, modules } of GRUB_CORES) {
    const target = join(dir, 'grub', platform)
    await copyFiles(join(root, 'usr/lib/grub', platform), target, /\.(mod|lst)$/)
    const output = join(dir, core)
    await runTool({
      tool,
      args: [
        '-d',
        join(root, 'usr/lib/grub', platform),
        '-O',
        format,
        '-p',
        '/grub',
        '-o',
        output,
        ...GRUB_MODULES,
        ...modules,
      ],
      purpose: `building GRUB for ${platform}`,
      env: { LD_LIBRARY_PATH: libraries.join(':') },
      timeoutMs: 60_000,
      signal,
    })
    await rename(output, join(target, core))
  }
}
