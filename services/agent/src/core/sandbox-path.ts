/** The longest name of a file that Linux knows, in bytes. */
const maxNameBytes = 255;

function nameOf(id: string): string {
  const safe = id.replace(/[%/\0]/g, (character) => `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return safe === '.' || safe === '..' || safe === '' ? `%${safe}` : safe;
}

/** Where the sandbox of a run of a task or an executor lies, below the folder of sandboxes; ids that cannot be names are escaped with `%`. */
export const sandboxPath = (frameworkId: string, taskId: string, containerId: string): string =>
  `${nameOf(frameworkId)}/${nameOf(taskId)}/${containerId}`;

/** The folder that holds the sandboxes of all runs of a task. */
export const taskFolder = (frameworkId: string, taskId: string): string => `${nameOf(frameworkId)}/${nameOf(taskId)}`;

/** Whether a folder can be named after an id. */
export const fitsName = (id: string): boolean => id !== '' && bytesOf(nameOf(id)) <= maxNameBytes;

function bytesOf(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return bytes;
}
