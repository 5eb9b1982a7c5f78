from boldvision.failures import tell


# Once, at the end: what a job said may lie far above, between the lines of others.
onerror:
    tell(log)
