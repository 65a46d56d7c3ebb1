/*
 * The main() of a fuzz target in builds without libFuzzer: runs every file of the corpus
 * directories given as arguments through LLVMFuzzerTestOneInput, once.
 *
 * A crash, an assertion or a sanitizer's complaint fails the test by itself; a directory that is
 * missing or empty fails it too, since a test that replays nothing says nothing. The name of each
 * file is printed before it runs, so that the last line names the input that crashed.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define INPUT_LIMIT_BYTES ((size_t)16 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        return -1;
    }
    uint8_t *data = malloc(INPUT_LIMIT_BYTES);
    if (data == NULL) {
        fclose(f);
        return -1;
    }
    size_t size = fread(data, 1, INPUT_LIMIT_BYTES, f);
    fclose(f);
    /* A copy of exactly this size, so that a sanitizer sees a read past its end. */
    uint8_t *exact = realloc(data, size > 0 ? size : 1);
    printf("%s (%zu bytes)\n", path, size);
    fflush(stdout);
    (void)LLVMFuzzerTestOneInput(exact != NULL ? exact : data, size);
    free(exact != NULL ? exact : data);
    return 0;
}

/* Returns the number of files run, or -1. */
static int run_directory(const char *path)
{
    int count = 0;
    struct dirent *entry;
    DIR *dir = opendir(path);
    if (dir == NULL) {
        perror(path);
        return -1;
    }
    while (count >= 0 && (entry = readdir(dir)) != NULL) {
        char file[4096];
        struct stat st;
        int n = snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (n < 0 || (size_t)n >= sizeof file || stat(file, &st) != 0 || !S_ISREG(st.st_mode)) {
            continue;
        }
        count = run_file(file) == 0 ? count + 1 : -1;
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int count = run_directory(argv[i]);
        if (count <= 0) {
            fprintf(stderr, "%s: no input could be replayed\n", argv[i]);
            return 1;
        }
        total += count;
    }
    printf("%d inputs replayed\n", total);
    return total > 0 ? 0 : 1;
}
