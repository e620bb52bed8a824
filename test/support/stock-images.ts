import { execFile } from 'node:child_process'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openStoredImage } from '../../src/cache/image-store.js'
import { runTool } from '../../src/common/process/run-tool.js'
import { setUpHost } from '../../src/host/setup/setup.js'
import type { ToolNeed } from '../../src/host/tools.js'
import { readCaches } from '../../src/image/stored-image.js'
import { readDistribution } from '../../src/packages/distribution.js'
import { makeOva, qemuImg } from './disk-images.js'

/** Increase when the images change. */
const REVISION = 1
/** Time limit for building or starting a Debian image on a busy host, milliseconds. */
export const LONG_MS = 900_000

const run = promisify(execFile)
const log = (line: string) => void process.stderr.write(`${line}\n`)

const need = (program: string, aptPackage: string): ToolNeed => ({
  program,
  aptPackage,
  why: 'makes the images of the tests',
})
const DEBVM = need('debvm-create', 'debvm')
const MMDEBSTRAP = need('mmdebstrap', 'mmdebstrap')
const DEBOOTSTRAP = need('debootstrap', 'debootstrap')

/** Runs a tool that mounts file systems. If it is killed, its mounts end with it: a removal of its folder would enter them. */
async function bootstrap(tool: ToolNeed, args: readonly string[]): Promise<void> {
  await runTool({
    tool,
    args,
    purpose: 'making an image of the tests',
    timeoutMs: LONG_MS,
    hasOwnMounts: true,
    env: { DEBIAN_FRONTEND: 'noninteractive' },
  })
}

/** User who can become root with this password. */
export const TESTER = { user: 'tester', password: 'a secret word' } as const

const ADD_TESTER = `chroot "$1" useradd -m -s /bin/bash -G sudo ${TESTER.user} && echo "${TESTER.user}:${TESTER.password}" | chroot "$1" chpasswd`
/** Options that exclude unneeded files and make dpkg fast. */
const LEAN = [
  '--hook-dir=/usr/share/mmdebstrap/hooks/eatmydata',
  '--dpkgopt=force-unsafe-io',
  ...['doc', 'man', 'locale', 'info'].map((folder) => `--dpkgopt=path-exclude=/usr/share/${folder}/*`),
]

interface StockImage {
  readonly image: string
  readonly kernel: string
  readonly initrd: string
  readonly append: string
}

/** Makes an image with `debvm-create`: ext4 without a partition table, systemd 252, an SSH server, no cloud-init; as .vdi and .vmdk. */
export async function debvmImage(): Promise<StockImage & { readonly vdi: string; readonly vmdk: string }> {
  const dir = await store('debvm', [DEBVM], async (building, suite) => {
    const image = join(building, 'rootfs.ext4')
    await bootstrap(DEBVM, [
      ...['-r', suite, '-z', '1100M', '-o', image, '-s', 'autologin,packagelists,usrmerge'],
      ...['--', '--include=openssh-server,sudo', ...LEAN, `--customize-hook=${ADD_TESTER}`],
    ])
    await extractKernel(image, building)
    qemuImg('convert', '-f', 'raw', '-O', 'vdi', image, join(building, 'disk.vdi'))
    qemuImg('convert', '-f', 'raw', '-O', 'vmdk', image, join(building, 'disk.vmdk'))
    await rm(image)
  })
  return {
    ...describe(dir, 'disk.vdi', 'root=LABEL=debvm'),
    vdi: join(dir, 'disk.vdi'),
    vmdk: join(dir, 'disk.vmdk'),
  }
}

/** Makes a Debian image with cloud-init with mmdebstrap, as .qcow2 and as an appliance in the form that VirtualBox and VMware export. */
export async function cloudImage(): Promise<StockImage & { readonly qcow2: string }> {
  const packages =
    'linux-image-cloud-amd64,systemd-sysv,udev,dbus,openssh-server,cloud-init,ifupdown,isc-dhcp-client'
  const dir = await store('cloud', [MMDEBSTRAP, need('genext2fs', 'genext2fs')], async (building, suite) => {
    const image = join(building, 'rootfs.ext2')
    await bootstrap(MMDEBSTRAP, [
      ...['--variant=minbase', '--format=ext2', ...LEAN, `--include=${packages}`],
      '--customize-hook=echo "/dev/vda / ext4 defaults 0 0" >"$1/etc/fstab"',
      // A guest under TCG takes 20 s to generate a locale.
      '--customize-hook=echo "locale: false" >"$1/etc/cloud/cloud.cfg.d/90-test.cfg"',
      ...[suite, image],
    ])
    await completeDisk(image, building)
    const disk = join(building, 'disk.vmdk')
    qemuImg('convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', image, disk)
    makeOva([disk])
    qemuImg('convert', '-f', 'raw', '-O', 'qcow2', image, join(building, 'disk.qcow2'))
    await Promise.all([image, disk].map((path) => rm(path)))
  })
  const qcow2 = join(dir, 'disk.qcow2')
  return { ...describe(dir, 'machine.ova', 'root=/dev/vda net.ifnames=0'), qcow2 }
}

/**
 * Makes an image of Debian 13 with mmdebstrap: OpenSSH 10, whose server passes the host keys to the program of a
 * connection, systemd-networkd, and a user who may run `sudo` without a password.
 */
export async function trixieImage(): Promise<StockImage> {
  const packages = 'linux-image-cloud-amd64,systemd-sysv,udev,dbus,openssh-server,sudo'
  const dir = await store('trixie', [MMDEBSTRAP, need('genext2fs', 'genext2fs')], async (building) => {
    const image = join(building, 'rootfs.ext2')
    const network = '[Match]\\nName=e*\\n[Network]\\nDHCP=yes\\n'
    await bootstrap(MMDEBSTRAP, [
      ...['--variant=minbase', '--format=ext2', ...LEAN, `--include=${packages}`],
      '--customize-hook=echo "/dev/vda / ext4 defaults 0 0" >"$1/etc/fstab"',
      `--customize-hook=printf "${network}" >"$1/etc/systemd/network/all.network"`,
      '--customize-hook=chroot "$1" systemctl enable systemd-networkd',
      '--customize-hook=chroot "$1" passwd -d root',
      `--customize-hook=${ADD_TESTER}`,
      `--customize-hook=echo "${TESTER.user} ALL=(ALL) NOPASSWD: ALL" >"$1/etc/sudoers.d/${TESTER.user}"`,
      ...['trixie', image],
    ])
    await completeDisk(image, building)
    qemuImg('convert', '-f', 'raw', '-O', 'qcow2', image, join(building, 'disk.qcow2'))
    await rm(image)
  })
  return describe(dir, 'disk.qcow2', 'root=/dev/vda net.ifnames=0')
}

/** Makes a tarball with `debootstrap`, with systemd and an SSH server. */
export async function debootstrapTarball(): Promise<string> {
  const dir = await store('debootstrap', [DEBOOTSTRAP], async (building, suite) => {
    const root = join(building, 'root')
    const debs = join(building, 'debs')
    await mkdir(debs)
    await bootstrap(DEBOOTSTRAP, [
      ...['--variant=minbase', '--include=systemd-sysv,dbus,openssh-server', `--cache-dir=${debs}`],
      ...[suite, root],
    ])
    await run('tar', ['-C', root, '--numeric-owner', '-czf', join(building, 'rootfs.tar.gz'), '.'])
    await Promise.all([root, debs].map((folder) => rm(folder, { recursive: true })))
  })
  return join(dir, 'rootfs.tar.gz')
}

async function store(
  name: string,
  needs: readonly ToolNeed[],
  build: (dir: string, suite: string) => Promise<void>,
): Promise<string> {
  return openStoredImage({
    ...readCaches(),
    name: `test-${name}`,
    origin: 'the tests',
    inputs: { REVISION, build: String(build), LEAN, ADD_TESTER },
    onWait: () => log(`another process makes the image '${name}' of the tests`),
    onExcess: log,
    build: async (dir) => {
      await setUpHost({ needs, log })
      log(`making the image '${name}' of the tests: a minute or two`)
      await build(dir, (await readDistribution()).codename)
    },
  })
}

/** Extracts the kernel of a file system that mmdebstrap made, and adds free space and a journal. */
async function completeDisk(image: string, building: string): Promise<void> {
  await extractKernel(image, building)
  await run('truncate', ['-s', '+300M', image])
  await run('/sbin/resize2fs', [image])
  await run('/sbin/tune2fs', ['-O', 'has_journal,extents', image])
}

/** Extracts kernel and initrd, to which two links in the image point, like `debvm-run`. */
async function extractKernel(image: string, dir: string): Promise<void> {
  for (const [link, file] of [
    ['vmlinuz', 'vmlinuz'],
    ['initrd.img', 'initrd'],
  ] as const) {
    const { stdout } = await run('/sbin/debugfs', ['-R', `stat ${link}`, image])
    const path = /link dest: "(.*)"/.exec(stdout)?.[1]
    await run('/sbin/debugfs', ['-R', `dump ${path} ${join(dir, file)}`, image])
  }
}

function describe(dir: string, image: string, root: string): StockImage {
  return {
    image: join(dir, image),
    kernel: join(dir, 'vmlinuz'),
    initrd: join(dir, 'initrd'),
    append: `${root} rw console=ttyS0`,
  }
}
