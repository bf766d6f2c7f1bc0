/** A piece between semicolons, without the white space around it. `position` counts characters from 1. */
export interface Piece {
  readonly piece: string;
  readonly position: number;
}

/** The pieces of a text between semicolons; those of white space alone are left out. */
export function splitPieces(text: string): Piece[] {
  const pieces: Piece[] = [];
  let start = 0;
  for (const part of text.split(';')) {
    const piece = part.trim();
    if (piece !== '') pieces.push({ piece, position: start + part.indexOf(piece) + 1 });
    start += part.length + 1;
  }
  return pieces;
}
