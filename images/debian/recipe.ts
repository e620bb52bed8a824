import { mkdir, open, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { EXT4_TOOLS, makeExt4Disk } from '../../src/archive/ext4.js'
import { RootTree } from '../../src/archive/root-tree.js'
import { readMember, readTar } from '../../src/archive/tar-archive.js'
import { hashInputs } from '../../src/cache/cache.js'
import { QEMU_IMG } from '../../src/common/process/run-tool.js'
import { GIB, MIB } from '../../src/common/units.js'
import { vmError } from '../../src/errors.js'
import { extractVmlinux } from '../../src/kernel/kernel-image.js'
import { APT_TOOLS } from '../../src/packages/apt.js'
import { formatDeb822Sources } from '../../src/packages/apt-sources.js'
import type { BaseImage } from '../../src/spec/base-image.js'
import { BUSY_HOST_ARGUMENT } from '../guest-parts/kernel-arguments.js'
import { packInitrd } from '../guest-parts/syscall-initrd.js'
import type { BuildContext, DebianOptions, GuestFile, Recipe } from '../recipe.js'
import { makeBootDisk } from './boot-disk.js'
import { BOOTSTRAP_TOOLS, type BootstrapPlan, bootstrap } from './bootstrap.js'
import { CONFIGURE } from './configure.js'
import { buildGrubConfig, LOADER_FILES, LOADER_FOLDER, MAKE_LOADER, ROOT_UUID } from './grub.js'
import { GUEST_FILES, IDENTITY, LAST_FILES } from './guest-files.js'
import { readBootModules } from './modules.js'
import { BOOT_MODULES, EXCLUDED_PATHS, PACKAGES } from './packages.js'
import { findSuite, warnOfUnchecked } from './suite.js'

/**
 * Increase when the code of this recipe changes its result. Changes of files, packages and commands
 * are detected.
 */
const REVISION = 2
const ROOT_PARTITION = 1
const ROOT_DEVICE = `/dev/vda${ROOT_PARTITION}`
/**
 * File system with the package lists of apt, which the image does not contain: commands of `run`
 * use them to install packages. It has space for newer lists and for downloads.
 */
const APT_LISTS = 'apt-lists.qcow2'
const APT_LISTS_BYTES = 4 * GIB
/** Measured on two processors with a local mirror: 58 s. */
const LEAST_BUILD_MS = 20_000

/** Returns the recipe of a Debian system with systemd, OpenSSH and the guest agent. */
export function debian(name: string, options: DebianOptions = {}): Recipe {
  return {
    name,
    plan: { name, debian: options, leastMs: LEAST_BUILD_MS },
    architectures: ['x86_64'],
    tools: [
      ...Object.values(BOOTSTRAP_TOOLS),
      ...Object.values(APT_TOOLS),
      ...Object.values(EXT4_TOOLS),
      QEMU_IMG,
    ],
    async readInputs() {
      const { suite, packages, files, run, arch } = await planBootstrap(options)
      return {
        revision: REVISION,
        suite: suite.codename,
        sources: formatDeb822Sources(suite.sources),
        arch,
        packages,
        leftOut: EXCLUDED_PATHS,
        files: Object.entries({ ...files, ...LAST_FILES }).map(([path, { content, mode }]) => [
          path,
          mode,
          hashInputs(Buffer.from(content).toString('base64')),
        ]),
        run,
        kernelArguments: KERNEL_ARGUMENTS,
        initrd: hashInputs(packInitrd(planInitrd([])).toString('base64')),
      }
    },
    build: (context) => build(options, context),
    open: (dir) => openImage(name, dir),
  }
}

async function planBootstrap({ suite, packages = [] }: DebianOptions): Promise<BootstrapPlan> {
  return {
    suite: await findSuite(suite),
    arch: 'amd64',
    packages: [...new Set([...PACKAGES, ...packages])],
    files: { ...GUEST_FILES, '/boot/grub/grub.cfg': grubConfig() },
    run: [CONFIGURE, MAKE_LOADER],
  }
}

function grubConfig(): GuestFile {
  return { content: buildGrubConfig([...KERNEL_ARGUMENTS]), mode: 0o644 }
}

async function build(options: DebianOptions, { dir, signal, report }: BuildContext): Promise<void> {
  const work = join(dir, 'work')
  const source = join(work, 'root')
  await mkdir(source, { recursive: true })
  const plan = await planBootstrap(options)
  await warnOfUnchecked()
  report(`installing Debian ${plan.suite.codename}`)
  const { tarball, lists } = await bootstrap(plan, { dir: work, report, signal })
  await makeExt4Disk({
    source: lists,
    path: join(dir, APT_LISTS),
    virtualBytes: APT_LISTS_BYTES,
    label: 'apt-lists',
    signal,
  })
  report('assembling the system')
  const archive = await open(tarball, 'r')
  try {
    const tree = new RootTree('debian')
    for await (const entry of readTar(archive, tarball)) tree.add(entry, () => readMember(archive, entry))
    const loader = {
      bootSector: await readNode(tree, LOADER_FILES.bootSector),
      core: await readNode(tree, LOADER_FILES.core),
      efiSystem: await readNode(tree, LOADER_FILES.efiSystem),
    }
    tree.remove(LOADER_FOLDER)
    const kernel = await findKernel(tree)
    const initrd = packInitrd(
      planInitrd(await readBootModules(kernel.version, BOOT_MODULES, (path) => readNode(tree, path))),
    )
    for (const [path, file] of Object.entries(LAST_FILES)) addFile(tree, path, file)
    addFile(tree, `/boot/initrd.img-${kernel.version}`, { content: initrd, mode: 0o644 })
    addLink(tree, 'initrd.img', `boot/initrd.img-${kernel.version}`)
    await tree.write(source, signal)
    await writeFile(join(dir, 'kernel'), (await extractVmlinux(kernel.image, signal)) ?? kernel.image)
    await writeFile(join(dir, 'initrd'), initrd)
    report('creating the disk')
    await makeBootDisk({
      path: join(dir, 'disk.qcow2'),
      virtualBytes: 10 * GIB,
      loader,
      root: {
        source,
        label: 'root',
        uuid: ROOT_UUID,
        attributes: tree.nodes,
        inodes: 262_144,
        signal,
      },
      signal,
    })
  } finally {
    await archive.close()
  }
  await rm(work, { recursive: true, force: true })
}

function planInitrd(modules: Awaited<ReturnType<typeof readBootModules>>) {
  return { modules, rootDevice: ROOT_DEVICE }
}

async function findKernel(tree: RootTree) {
  const prefix = 'boot/vmlinuz-'
  const path = [...tree.nodes.keys()]
    .filter((name) => name.startsWith(prefix))
    .sort()
    .at(-1)
  if (path === undefined) {
    throw vmError('IMAGE_BUILD_FAILED', {
      summary: 'The built system contains no kernel.',
      expected: `/${prefix}VERSION`,
      got: 'no such file',
      hint: 'Check whether a package of the list removes it.',
    })
  }
  return { version: path.slice(prefix.length), image: await readNode(tree, path) }
}

async function readNode(tree: RootTree, path: string): Promise<Buffer> {
  const found = tree.find(path)
  const node = found === undefined ? undefined : tree.nodes.get(found)
  if (node?.read === undefined) {
    throw vmError('IMAGE_BUILD_FAILED', {
      summary: `The built system does not contain the file /${path}.`,
      hint: 'Check whether a package of the list removes it.',
    })
  }
  const pieces: Buffer[] = []
  for await (const piece of node.read()) pieces.push(piece)
  return Buffer.concat(pieces)
}

const MEMBER = { uid: 0, gid: 0, bytes: 0, offset: 0, target: '' } as const

function addFile(tree: RootTree, path: string, { content, mode }: GuestFile): void {
  const bytes = Buffer.from(content)
  tree.add({ ...MEMBER, path: path.slice(1), type: 'file', mode }, async function* () {
    yield bytes
  })
}

function addLink(tree: RootTree, path: string, target: string): void {
  tree.add({ ...MEMBER, path, type: 'symlink', mode: 0o777, target }, async function* () {})
}

async function openImage(name: string, dir: string): Promise<BaseImage> {
  return {
    name,
    disk: { path: join(dir, 'disk.qcow2'), format: 'qcow2' },
    root: { partition: ROOT_PARTITION, aptLists: join(dir, APT_LISTS) },
    directBoot: {
      kernel: join(dir, 'kernel'),
      initrd: join(dir, 'initrd'),
      append: [`root=${ROOT_DEVICE}`, 'rw', ...KERNEL_ARGUMENTS],
      takesTscFrequency: true,
    },
    traits: {
      sshUser: 'root',
      credentials: 'smbios',
      mayHaveCloudInit: false,
      hostKeyFormat: 'openssh',
      hasAgent: true,
      identity: IDENTITY,
      watchdog: 'ib700',
      bootTimeFactor: 1,
      sshReadyPattern: /withvm: sshd/,
    },
    defaults: { memoryBytes: 512 * MIB, cpus: 1 },
  }
}

const KERNEL_ARGUMENTS: readonly string[] = [
  'console=ttyS0',
  'quiet',
  // The network card is always named eth0.
  'net.ifnames=0',
  // The guest stays up after a panic until withvm has read the console.
  'panic=0',
  'cryptomgr.notests',
  'no_timer_check',
  // A test guest needs no address randomization.
  'nokaslr',
  'tsc=reliable',
  BUSY_HOST_ARGUMENT,
]
