const actions = new Set<() => void>();

/**
 * Has something done when this process exits by itself: synchronously, nothing can be waited for.
 *
 * @returns the call that takes it back
 */
export function atExit(action: () => void): () => void {
  if (actions.size === 0) process.on('exit', runAll);
  actions.add(action);
  return () => {
    actions.delete(action);
    if (actions.size === 0) process.off('exit', runAll);
  };
}

function runAll(): void {
  for (const action of actions) action();
}
