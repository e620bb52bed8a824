/** Records a setting that is not imported, or imported differently. */
export type Note = (what: string, path: string, reason: string) => void
