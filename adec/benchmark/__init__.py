"""Strategies and peers side by side: tasks, a runner, statistics, a verdict in words, and their pages."""
