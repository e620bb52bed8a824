import { readFile, stat, writeFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import type { BuildContext, Recipe } from '../../images/recipe.js'
import { hashFile } from '../cache/entry-manifest.js'
import { parseMemorySize } from '../common/units.js'
import { openDisk } from '../disk/backing-chain.js'
import { vmError } from '../errors.js'
import { ARCHITECTURES, describeArch, type GuestArch } from '../spec/architectures.js'
import type { BaseImage, DiskFormat } from '../spec/base-image.js'
import type { BuiltImage, ImageOptions, PreparationInputs } from '../spec/image-definition.js'

/** Count up when what is kept of an author's recipe changes. */
const REVISION = 1
const DESCRIPTION = 'image.json'
const GIB = 1024 ** 3

/** What is kept of what the author's function gave. */
interface Description extends Omit<BuiltImage, 'sshReady'> {
  readonly format: DiskFormat
  readonly sshReady?: { readonly source: string; readonly flags: string } | undefined
}

/** The recipe of an author, by the function that makes the disk. */
export function ownRecipe(
  name: string,
  build: NonNullable<ImageOptions<never>['build']>,
  dependsOn: PreparationInputs | undefined,
): Recipe {
  return {
    name,
    // What its author makes is the author's.
    architectures: Object.keys(ARCHITECTURES) as GuestArch[],
    tools: [],
    readInputs: async () => ({ revision: REVISION, ...(await describeFunction(build, dependsOn)) }),
    build: (context) => runBuild(name, build, context),
    open: (dir, arch) => openBuilt(name, dir, arch),
  }
}

/** All that what a function does depends on, as its author says. */
export async function describeFunction(
  run: (...args: never[]) => unknown,
  { inputs, files = [] }: PreparationInputs = {},
): Promise<{ readonly source: string; readonly inputs: unknown; readonly files: unknown }> {
  return {
    source: String(run),
    inputs,
    files: await Promise.all(files.map(async (file) => [file, await hashFile(file)])),
  }
}

async function runBuild(
  name: string,
  build: NonNullable<ImageOptions<never>['build']>,
  context: BuildContext,
): Promise<void> {
  const { dir, signal } = context
  const built = await build(context)
  const files = [built?.disk, built?.kernel, built?.initrd].filter((file) => file !== undefined)
  if (typeof built?.disk !== 'string') throw badResult(name, 'nothing that names a disk')
  for (const file of files) {
    const isInside = !relative(dir, resolve(dir, file)).startsWith('..')
    const isThere =
      isInside &&
      (await stat(join(dir, file)).then(
        (found) => found.isFile(),
        () => false,
      ))
    if (!isThere) throw badResult(name, `'${file}', and there is no such file in its folder`)
  }
  const { format } = await openDisk({ path: join(dir, built.disk), name, backingFolders: [dir], signal })
  const { sshReady, ...rest } = built
  const description: Description = {
    ...rest,
    format,
    sshReady: sshReady && { source: sshReady.source, flags: sshReady.flags },
  }
  await writeFile(join(dir, DESCRIPTION), `${JSON.stringify(description)}\n`)
}

async function openBuilt(name: string, dir: string, arch: GuestArch): Promise<BaseImage> {
  const built = JSON.parse(await readFile(join(dir, DESCRIPTION), 'utf8')) as Description
  const { kernel, initrd, append = [], hostKeyFormat, sshReady } = built
  return {
    name,
    disk: { path: join(dir, built.disk), format: built.format },
    ...(kernel !== undefined && {
      directBoot: {
        kernel: join(dir, kernel),
        ...(initrd !== undefined && { initrd: join(dir, initrd) }),
        append,
      },
    }),
    traits: {
      sshUser: built.user ?? 'root',
      credentials: describeArch(arch).hasSmbios ? 'smbios' : 'none',
      // What its author made is unknown here.
      mayHaveCloudInit: true,
      ...(hostKeyFormat !== undefined && { hostKeyFormat }),
      hasAgent: built.hasAgent ?? false,
      hasIdentityAgent: false,
      startEffort: 1,
      ...(sshReady !== undefined && { sshReadyPattern: new RegExp(sshReady.source, sshReady.flags) }),
    },
    defaults: { memoryBytes: parseMemorySize(built.memory) ?? GIB, cpus: built.cpus ?? 1 },
  }
}

function badResult(name: string, got: string) {
  return vmError('IMAGE_BUILD_FAILED', {
    summary: `The function that builds the image ${name} gave something that is no image.`,
    expected: "{ disk: 'FILE' }, and perhaps kernel and initrd: files of the folder that it is given",
    got,
    hint: 'Give what it has made: paths relative to `dir`. docs/images.md has an example.',
  })
}
