import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { EXT4_TOOLS, makeExt4Disk } from '../../src/archive/ext4.js'
import { hashInputs } from '../../src/cache/cache.js'
import { QEMU_IMG } from '../../src/common/process/run-tool.js'
import { GIB, MIB } from '../../src/common/units.js'
import { DECOMPRESSORS } from '../../src/disk/packing.js'
import { APT_TOOLS, createAptRoot, extractPackage } from '../../src/packages/apt.js'
import { readDistribution } from '../../src/packages/distribution.js'
import { findAgentArch } from '../../src/provisioning/identity-agent/target.js'
import { describeArch, type GuestArch, isPc } from '../../src/spec/architectures.js'
import type { BaseImage } from '../../src/spec/base-image.js'
import { DEBIAN_ARCHITECTURES, debianArchitecture, releaseWith } from '../debian-architectures.js'
import { BUSY_HOST_ARGUMENT } from '../guest-parts/kernel-arguments.js'
import type { BuildContext, Recipe } from '../recipe.js'
import { buildInitrd } from './initrd.js'
import { installKernel } from './kernel.js'
import { BOOT_MODULES, isWantedDependency, listPackages } from './packages.js'
import { assembleRoot, BUSYBOX, makeDirectoriesAccessible, ROOT_MODES } from './rootfs.js'
import { guestFiles, IDENTITY } from './scripts.js'

/**
 * Increase when the code of this recipe changes its result. Changes of scripts, packages and the
 * initrd are detected.
 */
const REVISION = 5
/**
 * Boot time factor on other architectures, whose kernels contain drivers for all their hardware,
 * relative to a full distribution.
 */
const FOREIGN_BOOT_TIME_FACTOR = 0.5
/** Measured on two processors with a local mirror: 15 s. */
const LEAST_BUILD_MS = 6000

/**
 * Recipe of the default guest: a distribution's kernel for virtual machines, busybox, an SSH server
 * and the guest agent.
 */
export const tiny: Recipe = {
  name: 'tiny',
  plan: { name: 'tiny', leastMs: LEAST_BUILD_MS },
  architectures: Object.keys(DEBIAN_ARCHITECTURES) as GuestArch[],
  tools: [
    ...Object.values(APT_TOOLS),
    ...Object.values(EXT4_TOOLS),
    ...Object.values(DECOMPRESSORS),
    QEMU_IMG,
  ],
  async readInputs(arch) {
    const distribution = await readDistribution()
    return {
      revision: REVISION,
      arch: debianArchitecture(arch).name,
      suite: `${distribution.id} ${releaseWith(arch, distribution)}`,
      packages: listPackages(distribution, arch),
      files: guestFiles(arch),
      initrd: hashInputs(
        buildInitrd(
          BOOT_MODULES.map((fileName) => ({ fileName, content: Buffer.alloc(0) })),
          arch === 'x86_64' ? undefined : Buffer.alloc(0),
        ),
      ),
    }
  },
  build,
  open,
}

async function build({ dir, arch, signal, report }: BuildContext): Promise<void> {
  const work = join(dir, 'work')
  const packages = join(work, 'packages')
  const root = join(work, 'root')
  await mkdir(packages, { recursive: true })
  await mkdir(root)
  const distribution = await readDistribution()
  const codename = releaseWith(arch, distribution)
  report(`reading the package lists of ${codename === distribution.codename ? distribution.name : codename}`)
  const apt = await createAptRoot({
    dir: join(work, 'apt'),
    distribution,
    codename,
    arch: debianArchitecture(arch).name,
    report,
    signal,
  })
  const debs = await apt.download({ packages: listPackages(distribution, arch), keep: isWantedDependency })
  report(`unpacking ${debs.length} packages`)
  for (const deb of debs) await extractPackage(deb, packages, signal)
  report('assembling the system')
  await assembleRoot(packages, root, arch)
  const kernel = await installKernel({ packages, root, bootModules: BOOT_MODULES, signal })
  await makeDirectoriesAccessible(root)
  const busybox = await readFile(join(root, BUSYBOX))
  await writeFile(join(dir, 'kernel'), kernel.image)
  await writeFile(join(dir, 'kernel.efi'), kernel.packaged)
  await writeFile(
    join(dir, 'initrd'),
    buildInitrd(kernel.bootModules, arch === 'x86_64' ? undefined : busybox),
  )
  report('creating the disk')
  await makeExt4Disk({
    source: root,
    path: join(dir, 'disk.qcow2'),
    virtualBytes: 2 * GIB,
    label: 'tiny',
    modes: ROOT_MODES,
    owners: { '/home/user': 1000 },
    signal,
  })
  await rm(work, { recursive: true, force: true })
}

async function open(dir: string, arch: GuestArch): Promise<BaseImage> {
  return {
    name: 'tiny',
    disk: { path: join(dir, 'disk.qcow2'), format: 'qcow2' },
    ...(arch === 'x86_64' && { root: {} }),
    directBoot: {
      kernel: join(dir, 'kernel'),
      efiKernel: join(dir, 'kernel.efi'),
      initrd: join(dir, 'initrd'),
      append: [
        `console=${describeArch(arch).console}`,
        ...KERNEL_ARGUMENTS,
        ...(isPc(arch) ? PC_ARGUMENTS : []),
      ],
      takesTscFrequency: isPc(arch),
      appendForOneCpu: isPc(arch) ? ONE_CPU_ARGUMENTS : [],
    },
    traits: {
      sshUser: 'root',
      credentials: isPc(arch) ? 'smbios' : 'initrd',
      hostKeyFormat: 'dropbear',
      hasAgent: true,
      mayHaveCloudInit: false,
      identity: findAgentArch(arch) && IDENTITY,
      watchdog: 'ib700',
      bootTimeFactor: isPc(arch) ? 0.1 : FOREIGN_BOOT_TIME_FACTOR,
      sshReadyPattern: /withvm: sshd/,
    },
    defaults: { memoryBytes: 256 * MIB, cpus: 1 },
  }
}

/**
 * Kernel initcalls that take a fifth of the boot time on an emulated processor and that test guests
 * do not need: the files and tables of tracefs, and the check of all type information for functions
 * callable from BPF. TCP uses `reno` then, because `cubic` is one of those.
 */
const SKIPPED_INITCALLS = [
  'tracer_init_tracefs',
  'event_trace_init',
  'trace_eval_init',
  'init_kprobe_trace',
  'cubictcp_register',
  'bpf_prog_test_run_init',
  'kfunc_init',
  'bpf_tcp_ca_kfunc_init',
  'bpf_key_sig_kfuncs_init',
  'bpf_rstat_kfunc_init',
]

/**
 * Each was measured with `bench/cold-boot-floor.mjs`; the kernel's kernel-parameters.txt explains
 * them.
 */
const KERNEL_ARGUMENTS = [
  'quiet',
  // The guest stays up after a panic until withvm has read the console.
  'panic=0',
  'cryptomgr.notests',
  // A test guest needs no address randomization.
  'nokaslr',
  BUSY_HOST_ARGUMENT,
  `initcall_blacklist=${SKIPPED_INITCALLS.join(',')}`,
]

/** Arguments that skip measurements of a PC kernel at boot. */
const PC_ARGUMENTS = ['no_timer_check', 'tsc=reliable']

/**
 * Setting up device interrupts through ACPI takes 130 ms under TCG. Power-off still uses ACPI.
 * Without it the kernel reads no processor table and detects only the first processor, and cannot
 * use message-signaled interrupts: each attempt would log a `WARNING`.
 */
const ONE_CPU_ARGUMENTS = ['pci=noacpi,nomsi']
