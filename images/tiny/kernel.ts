import { chmod, cp, readdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { runTool } from '../../src/common/process/run-tool.js'
import { DECOMPRESSORS } from '../../src/disk/packing.js'
import { vmError } from '../../src/errors.js'
import { findElfEnd, hideElfSection } from '../../src/kernel/elf.js'
import { extractVmlinux } from '../../src/kernel/kernel-image.js'
import {
  formatModulesAlias,
  formatModulesDep,
  formatModulesSoftdep,
  type ModuleInfo,
  orderModules,
  parseModuleInfo,
} from '../../src/kernel/kernel-modules.js'
import type { BootModule } from '../guest-parts/initrd.js'

const UNPACKERS = {
  '.ko.xz': { tool: DECOMPRESSORS.xz, args: ['-d', '--'] },
  '.ko.zst': { tool: DECOMPRESSORS.zstd, args: ['-dq', '--rm', '--'] },
} as const

export interface InstalledKernel {
  /**
   * Kernel in the form that boots fastest: for x86-64 the ELF file inside the bzImage, if it can be
   * extracted.
   */
  readonly image: Buffer
  /** Kernel as packaged, which UEFI firmware can start on some architectures. */
  readonly packaged: Buffer
  readonly bootModules: readonly BootModule[]
}

/** Installs all modules of the packaged kernel into `root`, with the tables for `modprobe`. */
export async function installKernel(options: {
  readonly packages: string
  readonly root: string
  readonly bootModules: readonly string[]
  readonly signal?: AbortSignal | undefined
}): Promise<InstalledKernel> {
  const { packages, root, signal } = options
  const { version, image, modulesDir } = await findKernel(packages)
  const target = join(root, 'usr/lib/modules', version)
  await cp(modulesDir, target, { recursive: true, filter: (path) => !/\/(build|source)$/.test(path) })
  await unpackModules(target, signal)
  const modules = await readModules(target)
  await writeFile(join(target, 'modules.dep'), formatModulesDep(modules))
  await writeFile(join(target, 'modules.alias'), formatModulesAlias(modules))
  await writeFile(join(target, 'modules.softdep'), formatModulesSoftdep(modules))
  await writeFile(join(target, 'modules.symbols'), '')
  const packaged = await readFile(image)
  const bootModules = orderModules(modules, options.bootModules).map(async (path): Promise<BootModule> => {
    const content = await readFile(join(target, path))
    // Removes the signature, whose verification is slow, and the type information, which would make
    // the kernel first parse its own.
    const unsigned = content.subarray(0, findElfEnd(content))
    return { fileName: basename(path), content: hideElfSection(unsigned, '.BTF') }
  })
  return {
    image: (await extractVmlinux(packaged, signal)) ?? packaged,
    packaged,
    bootModules: await Promise.all(bootModules),
  }
}

async function findKernel(packages: string) {
  const boot = join(packages, 'boot')
  const names = await readdir(boot).catch(() => [])
  // The kernel for POWER is an ELF file (vmlinux).
  const file = names.find((name) => /^vmlinu[zx]-/.test(name))
  const version = file?.slice('vmlinuz-'.length)
  for (const lib of ['usr/lib', 'lib']) {
    const modulesDir = join(packages, lib, 'modules', version ?? '')
    if (file === undefined || version === undefined || !(await readdir(modulesDir).catch(() => undefined)))
      continue
    await chmod(join(boot, file), 0o644)
    return { version, image: join(boot, file), modulesDir }
  }
  throw vmError('IMAGE_BUILD_FAILED', {
    summary: 'The kernel package of this distribution has an unexpected layout.',
    expected: '/boot/vmlinuz-VERSION and lib/modules/VERSION',
    got: version === undefined ? 'no /boot/vmlinuz-*' : `no lib/modules/${version}`,
    hint: 'Specify the path of a disk image: this release of the distribution is not supported as a source of tiny.',
  })
}

async function unpackModules(dir: string, signal: AbortSignal | undefined): Promise<void> {
  const files = await listFiles(dir)
  for (const [suffix, { tool, args }] of Object.entries(UNPACKERS)) {
    const packed = files.filter((file) => file.endsWith(suffix))
    for (let at = 0; at < packed.length; at += 500) {
      const some = packed.slice(at, at + 500)
      const purpose = 'unpacking kernel modules'
      await runTool({ tool, args: [...args, ...some], purpose, cwd: dir, timeoutMs: 300_000, signal })
    }
  }
}

async function readModules(dir: string): Promise<ModuleInfo[]> {
  const modules: ModuleInfo[] = []
  for (const path of (await listFiles(dir)).filter((file) => file.endsWith('.ko')).sort()) {
    modules.push(parseModuleInfo(path, await readFile(join(dir, path))))
  }
  return modules
}

/** Returns the files below `dir`, relative to it. */
async function listFiles(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1))
}
