import type { Duration } from '../common/duration.js'
import type { MemorySize } from '../common/units.js'
import type { GuestTraits } from './base-image.js'
import type { ImageSource } from './image-source.js'
import type { NetworkOptions } from './options/network.js'

/** A file of an image: its content, or where on this host it is, and who may do what with it. */
export type ImageFile =
  | string
  | Uint8Array
  | {
      /** The content itself. */
      readonly content: string | Uint8Array
      /** The permissions, as chmod(1) takes them. @default 0o644 */
      readonly mode?: number
    }
  | {
      /** A file of this host. */
      readonly path: string
      /** The permissions, as chmod(1) takes them. @default those that it has */
      readonly mode?: number
    }

/** The guest in which an image is prepared. */
export interface PreparingGuest {
  /** RAM: MiB, or with a unit. @default the image's */
  readonly memory?: MemorySize
  /** How many CPUs. @default the image's */
  readonly cpus?: number
  /** The network; packages come from the internet. @default closed */
  readonly network?: Pick<NetworkOptions, 'internet'>
  /** How long it may take to start, and each command by SSH. @default as for any guest */
  readonly timeouts?: { readonly start?: Duration; readonly command?: Duration; readonly shutdown?: Duration }
}

/** An image of the author's own: what it is made from, and what is done to it. */
export interface ImageOptions<VM> {
  /** What it is called: letters, digits, `.`, `_`, `-`. Names its guests too. */
  readonly name: string
  /** What it is made from: the name of a recipe, a path, a URL with its checksum, another image. @default 'debian'; nothing with `build` */
  readonly from?: ImageSource | PreparedImage<VM>
  /** The release of Debian, by its codename, for `from: 'debian'`. @default this host's, where that is a Debian; else 'bookworm' */
  readonly suite?: string
  /** The architecture, for `from: 'debian'`: there is one so far. @default 'amd64' */
  readonly arch?: 'amd64'
  /** Packages to install, for `from: 'debian'`. @default none */
  readonly packages?: readonly string[]
  /** Files to put into it, owned by root, by absolute path. @default none */
  readonly files?: Readonly<Record<string, ImageFile>>
  /**
   * Shell commands to run in it as root, after `files`, each with `/bin/sh -c`. For `from: 'debian'` they are run while it is built:
   * there is the internet, and no service runs. Else they are run in a guest of it. @default none
   */
  readonly run?: readonly string[]
  /**
   * What is done in a guest of it, last. Its disk is kept when the guest has powered off in good order: what runs in it is not,
   * for that see `.prepare()` of what `defineImage` gives. @default nothing
   */
  readonly prepare?: (vm: VM) => unknown
  /** The guest for `prepare`, and for `files` and `run` where they need one. */
  readonly guest?: PreparingGuest
  /** Makes the disk, in place of `from`: a recipe of the author's own. @default none */
  readonly build?: (context: ImageBuild) => Promise<BuiltImage> | BuiltImage
  /** What `build` and `prepare` depend on beside their own source: else they are not run again. @default nothing */
  readonly dependsOn?: PreparationInputs
}

/** What a recipe is given. */
export interface ImageBuild {
  /** An empty folder: what is in it at the end is the image. Nothing is left of it after a failure. */
  readonly dir: string
  /** Aborts when nobody waits any more. */
  readonly signal?: AbortSignal | undefined
  /** Says in a few words what is being done now. */
  readonly report: (step: string) => void
}

/** What a recipe has made: files of its folder, and how a guest of them is reached. */
export interface BuiltImage {
  /** The disk, raw or qcow2 and so on, by its path within the folder. */
  readonly disk: string
  /** A kernel that QEMU loads by itself. @default none: the disk's boot loader */
  readonly kernel?: string
  /** The initial RAM file system of the kernel. @default none */
  readonly initrd?: string
  /** The arguments of the kernel. @default none */
  readonly append?: readonly string[]
  /** The user to log in as. @default 'root' */
  readonly user?: string
  /** Whether a guest agent runs in it. @default false */
  readonly hasAgent?: boolean
  /** How it takes the run's SSH host key. @default it has its own */
  readonly hostKeyFormat?: GuestTraits['hostKeyFormat']
  /** What it prints on the serial console when its SSH server listens. @default nothing known */
  readonly sshReady?: RegExp
  /** RAM of its guests: MiB, or with a unit. @default 1 GiB */
  readonly memory?: MemorySize
  /** How many CPUs its guests have. @default 1 */
  readonly cpus?: number
}

/** An image that was defined by its author. */
export class ImageDefinition<VM> {
  readonly options: ImageOptions<VM>

  constructor(options: ImageOptions<VM>) {
    this.options = options
  }
}

/** What a preparation depends on beside its own source. */
export interface PreparationInputs {
  /** Values that the function uses from outside of itself, as JSON can write them. @default none */
  readonly inputs?: unknown
  /** Files of this host that it reads: by their content. @default none */
  readonly files?: readonly string[]
}

/** One step that is run in a guest, once, for all guests to go on from. */
export interface Preparation<VM> extends PreparationInputs {
  readonly run: (vm: VM) => unknown
}

/**
 * An image with what was done in a guest of it: guests of it begin where that had ended. It is done once, and kept under the
 * source of the functions and what they say that they depend on.
 */
export class PreparedImage<VM> {
  readonly source: ImageSource | ImageDefinition<VM>
  readonly steps: readonly Preparation<VM>[]

  constructor(source: ImageSource | ImageDefinition<VM>, steps: readonly Preparation<VM>[] = []) {
    this.source = source
    this.steps = steps
  }

  /**
   * The same image with one more step.
   *
   * @param run is given a guest that is ready. It must not depend on anything but its own source and `dependsOn`: where
   *   those stay the same, it is not run again.
   * @example const web = image('tiny').prepare(async (vm) => { await vm.upload('./site', '/srv') }, { files: ['./site/index.html'] })
   */
  prepare(run: (vm: VM) => unknown, dependsOn: PreparationInputs = {}): PreparedImage<VM> {
    return new PreparedImage(this.source, [...this.steps, { ...dependsOn, run }])
  }
}
